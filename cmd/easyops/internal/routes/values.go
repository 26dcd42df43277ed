package routes

import (
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/registry"
)

// address is one to listen on.
func (p *parser) address(at string, n *yaml.Node) string {
	text := p.text(at, n)
	if text == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		p.fault(n.Line, at, "%q is no address: write host:port, or \":8443\" for all of this machine's", shorten(text))
		return ""
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		p.fault(n.Line, at, "%q has no port from 0 to 65535", shorten(text))
		return ""
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && !validName(host) {
		p.fault(n.Line, at, "%q is no host: write an IP address of this machine, or \":%s\" for all of them", shorten(host), port)
		return ""
	}
	return text
}

// host is what a Host header is compared with.
func (p *parser) host(at string, n *yaml.Node) string {
	text := strings.ToLower(p.text(at, n))
	if text == "" {
		return ""
	}
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return ip.String()
	}
	name, wild := strings.CutPrefix(strings.TrimSuffix(text, "."), "*.")
	switch {
	case strings.Contains(text, "://") || strings.Contains(text, "/"):
		p.fault(n.Line, at, "%q is more than a host: write its name alone, such as shop.example.com, and the path as path", shorten(text))
	case strings.Contains(text, ":"):
		p.fault(n.Line, at, "%q has a port: leave it out, the route is for each", shorten(text))
	case strings.Contains(name, "*"):
		p.fault(n.Line, at, "%q: a * stands for whole names at the beginning only, as in \"*.example.com\"; leave host out for every host", shorten(text))
	case !isASCII(name):
		p.fault(n.Line, at, "%q: write the name as DNS has it, with xn--", shorten(text))
	case !validName(name):
		p.fault(n.Line, at, "%q is no name of a host", shorten(text))
	case wild:
		return "*." + name
	default:
		return name
	}
	return ""
}

// prefix is the beginning of paths, up to the end of a segment.
func (p *parser) prefix(at string, n *yaml.Node) string {
	text := p.text(at, n)
	switch {
	case text == "":
		return "/"
	case !strings.HasPrefix(text, "/"):
		p.fault(n.Line, at, "%q does not begin with a slash", shorten(text))
	case strings.ContainsAny(text, "*{}"):
		p.fault(n.Line, at, "%q has a pattern in it: a path is a beginning, and all below it fits", shorten(text))
	case strings.ContainsAny(text, "%;\\?#") || !isVisible(text):
		p.fault(n.Line, at, "%q: write it as it is, without what has to be encoded, queries and parameters", shorten(text))
	case path.Clean(text) != strings.TrimSuffix(text, "/") && text != "/":
		p.fault(n.Line, at, "%q is not clean: write %q", shorten(text), shorten(path.Clean(text)))
	case IsReserved(text):
		p.fault(n.Line, at, "%q belongs to the status pages, which are never reached through an edge: choose another path", shorten(text))
	default:
		return strings.TrimSuffix(text, "/") + "/"
	}
	return "/"
}

// IsReserved reports whether a path, however its letters are written, is one of the
// status pages: /internal and all below it, /metrics, /livez, /readyz.
func IsReserved(urlPath string) bool {
	first, rest, _ := strings.Cut(strings.Trim(urlPath, "/"), "/")
	for _, page := range []string{"metrics", "livez", "readyz"} {
		if rest == "" && strings.EqualFold(first, page) {
			return true
		}
	}
	return strings.EqualFold(first, "internal")
}

func (p *parser) service(at string, n *yaml.Node) string {
	text := p.text(at, n)
	if text != "" && !registry.ValidService(text) {
		p.fault(n.Line, at, "%q is no name of a service: up to 255 letters, digits, dots, dashes and underscores", shorten(text))
		return ""
	}
	return text
}

// servicePattern is the name of a gRPC service, of those of a package, or of all.
func (p *parser) servicePattern(at string, n *yaml.Node) string {
	text := p.text(at, n)
	name, wild := strings.CutSuffix(text, ".*")
	switch {
	case text == "" || text == "*":
		return text
	case strings.Contains(text, "/"):
		p.fault(n.Line, at, "%q names a method: a route is for whole services, such as echo.v1.EchoService", shorten(text))
	case strings.Contains(name, "*"):
		p.fault(n.Line, at, "%q: a * stands for the rest of a name after a dot, as in echo.v1.*, or for all", shorten(text))
	case !registry.ValidService(name):
		p.fault(n.Line, at, "%q is no name of a service: write it in full, such as echo.v1.EchoService", shorten(text))
	case !wild && isOwnService(name):
		p.fault(n.Line, at, "%s is answered by the edge itself: leave the route out", shorten(name))
	default:
		return text
	}
	return ""
}

// isOwnService tells whether every server has the service for itself.
func isOwnService(name string) bool {
	return name == "grpc.health.v1.Health" || strings.HasPrefix(name, "grpc.reflection.")
}

func (p *parser) allow(at string, n *yaml.Node) auth.Allow {
	text := p.text(at, n)
	for a := auth.Authenticated; a <= auth.Everyone; a++ {
		if text == a.String() {
			return a
		}
	}
	if text != "" {
		p.fault(n.Line, at, "%q is nobody: write AUTHENTICATED, USERS, SERVICES or EVERYONE", shorten(text))
	}
	return auth.Authenticated
}

func (p *parser) names(at string, n *yaml.Node) (names []string) {
	p.list(at, n, func(at string, n *yaml.Node) { names = append(names, p.visible(at, n)) })
	if len(names) == 0 && n.Kind == yaml.SequenceNode {
		p.fault(n.Line, at, "is an empty list, which would let in everyone of the kind: name somebody, or leave the key out")
	}
	return names
}

// visible returns a text whose characters can all be seen, or are spaces.
func (p *parser) visible(at string, n *yaml.Node) string {
	text := p.text(at, n)
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		p.fault(n.Line, at, "%q has a character that cannot be seen, such as the end of a line: leave it out", shorten(text))
		return ""
	}
	return text
}

const (
	// How long a request waits for an instance.
	minConnect, maxConnect = time.Millisecond, 5 * time.Minute
	// How long a connection may be idle.
	minIdle, maxIdle = time.Second, 7 * 24 * time.Hour
)

func (p *parser) duration(at string, n *yaml.Node, least, most time.Duration) time.Duration {
	text := p.text(at, n)
	d, err := time.ParseDuration(text)
	switch {
	case text == "":
	case err != nil:
		p.fault(n.Line, at, "%q is no time: write it with its unit, such as 5s or 500ms", shorten(text))
	case d < least || d > most:
		p.fault(n.Line, at, "%s is out of bounds: %s to %s", d, least, most)
	default:
		return d
	}
	return 0
}

// maxSize bounds messages. gRPC could have 4 GiB.
const maxSize = 1 << 30 // bytes

func (p *parser) size(at string, n *yaml.Node) int {
	text := p.text(at, n)
	if text == "" {
		return 0
	}
	number, unit := text, 1
	for suffix, bytes := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if before, ok := strings.CutSuffix(text, suffix); ok {
			number, unit = strings.TrimSpace(before), bytes
		}
	}
	size, err := strconv.ParseUint(number, 10, 31)
	if err != nil || size == 0 || size > uint64(maxSize/unit) {
		p.fault(n.Line, at, "%q is no size: write 1 to 1073741824 bytes, or such as 512KiB, 4MiB, 1GiB", shorten(text))
		return 0
	}
	return int(size) * unit
}

// maxCount bounds connections. A process has fewer files.
const maxCount = 1_000_000

func (p *parser) count(at string, n *yaml.Node) int {
	text := p.text(at, n)
	count, err := strconv.Atoi(text)
	if text != "" && (err != nil || count < 1 || count > maxCount) {
		p.fault(n.Line, at, "%q is no number from 1 to %d", shorten(text), maxCount)
	}
	return count
}

func (p *parser) proxyVersion(at string, n *yaml.Node) int {
	switch text := p.text(at, n); text {
	case "":
	case "v1":
		return 1
	case "v2":
		return 2
	default:
		p.fault(n.Line, at, "%q is no version: write v1 or v2, or leave the key out", shorten(text))
	}
	return 0
}

func (p *parser) network(at string, n *yaml.Node) netip.Prefix {
	text := p.text(at, n)
	if text == "" {
		return netip.Prefix{}
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		p.fault(n.Line, at, "%q is neither an IP address nor a network: write such as 10.0.0.7 or 10.0.0.0/8", shorten(text))
	case prefix.Masked() != prefix:
		p.fault(n.Line, at, "%s has bits behind its length: write %s", prefix, prefix.Masked())
	default:
		return prefix
	}
	return netip.Prefix{}
}

// validName tells whether a name can be that of a host (RFC 1123, 2.1; underscores
// occur).
func validName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, labelChars) != "" {
			return false
		}
	}
	return true
}

const labelChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e })
}

// isVisible tells whether a text consists of what may stand in a path as it is.
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > 0x7e || strings.ContainsRune("\"<>^`|", r) })
}
