package etcd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	defaultPort   = "2379"
	defaultPrefix = "easyops"
)

// config is what a URL says. Equal ones share a client.
type config struct {
	endpoints    string // host:port,…
	prefix       string // without a slash at its ends
	user         string
	passwordFile string
	ca           string // a file, or systemRoots
	cert, key    string // files
	plaintext    bool   // a password may be sent without TLS
}

const systemRoots = "system"

// String names the registry, without secrets.
func (c config) String() string { return "etcd registry at " + c.endpoints + "/" + c.prefix }

func (c config) tls() bool { return c.ca != "" || c.cert != "" || c.key != "" }

// parse returns what a URL says, or all that is wrong with it. Package net/url
// takes no list of hosts with ports.
func parse(text string) (config, error) {
	rest, ok := strings.CutPrefix(text, scheme+"://")
	if !ok {
		return config{}, errors.New("must be etcd://host:port,…/prefix?…")
	}
	if at := strings.IndexAny(rest, "/?"); at >= 0 && strings.Contains(rest[at:], "@") {
		// It may be a password with a slash in it, so nothing is quoted.
		return config{}, errors.New("an @ stands after the first / or ?: a user comes before the hosts, and a password belongs into a file, password-file=PATH; elsewhere write %40")
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")

	var c config
	var errs []error
	if at := strings.LastIndex(hosts, "@"); at >= 0 {
		errs = append(errs, c.setUser(hosts[:at]))
		hosts = hosts[at+1:]
	}
	errs = append(errs, c.setHosts(hosts), c.setPrefix(path), c.setParameters(query), c.check())
	return c, errors.Join(errs...)
}

func (c *config) setUser(text string) (err error) {
	if strings.Contains(text, ":") {
		return errors.New("a password in a URL is seen by others: name a file with it, password-file=PATH")
	}
	if c.user, err = url.PathUnescape(text); err != nil || c.user == "" {
		return errors.New("the user before the @ is empty or not well escaped")
	}
	return nil
}

func (c *config) setHosts(text string) error {
	var list []string
	for host := range strings.SplitSeq(text, ",") {
		if host == "http:" || host == "https:" {
			return fmt.Errorf("drop %s// after etcd://: for TLS name the authority, ca=FILE or ca=system", host)
		}
		if strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "[") {
			return fmt.Errorf("hosts %.64q: an IPv6 address stands in brackets: [::1]:%s", text, defaultPort)
		}
		addr := host
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(strings.Trim(host, "[]"), defaultPort)
		}
		if err := registry.ValidAddr(addr); err != nil {
			return fmt.Errorf("hosts %.64q: %w: must be host:port,…", text, err)
		}
		list = append(list, addr)
	}
	c.endpoints = strings.Join(list, ",")
	return nil
}

func (c *config) setPrefix(path string) error {
	prefix, err := url.PathUnescape(strings.Trim(path, "/"))
	if prefix == "" {
		prefix = defaultPrefix
	}
	c.prefix = prefix
	for part := range strings.SplitSeq(prefix, "/") {
		if err != nil || !registry.ValidService(part) {
			return fmt.Errorf("prefix %.64q: must be made of letters, digits, dots, dashes or underscores, with slashes between", path)
		}
	}
	return nil
}

// parameters are what may stand after the question mark.
func (c *config) parameters() map[string]*string {
	return map[string]*string{
		"user": &c.user, "password-file": &c.passwordFile,
		"ca": &c.ca, "cert": &c.cert, "key": &c.key,
	}
}

func (c *config) setParameters(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("the parameters after the ? are not well escaped")
	}
	var errs []error
	known := c.parameters()
	for name, v := range values {
		switch p := known[name]; {
		case len(v) > 1 || p != nil && *p != "":
			errs = append(errs, fmt.Errorf("parameter %.64q is said twice", name))
		case v[0] == "":
			errs = append(errs, fmt.Errorf("parameter %.64q is empty", name))
		case name == "insecure-plaintext":
			if c.plaintext = v[0] == "true"; !c.plaintext && v[0] != "false" {
				errs = append(errs, fmt.Errorf("insecure-plaintext=%.64q: must be true or false", v[0]))
			}
		case p != nil:
			*p = v[0]
		default:
			errs = append(errs, fmt.Errorf("parameter %.64q is unknown: use user, password-file, ca, cert, key or insecure-plaintext", name))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// check looks at what belongs together, and at the files.
func (c *config) check() error {
	var errs []error
	if (c.user == "") != (c.passwordFile == "") {
		errs = append(errs, errors.New("a user needs a password-file, and a password-file a user"))
	}
	if (c.cert == "") != (c.key == "") {
		errs = append(errs, errors.New("cert needs key, and key needs cert"))
	}
	if c.user != "" && !c.tls() && !c.plaintext && !c.onLoopback() {
		errs = append(errs, errors.New("the password would leave the machine in plain text: name the authority that etcd's certificate is from, ca=FILE or ca=system, or say insecure-plaintext=true"))
	}
	if c.passwordFile != "" {
		_, err := readPassword(c.passwordFile)
		errs = append(errs, err)
	}
	if c.tls() {
		_, err := c.loadTLS()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *config) onLoopback() bool {
	for addr := range strings.SplitSeq(c.endpoints, ",") {
		host, _, _ := net.SplitHostPort(addr)
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

func readPassword(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("password-file: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("password-file %s is empty", file)
	}
	return password, nil
}
