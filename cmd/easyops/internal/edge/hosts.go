package edge

import (
	"net/netip"
	"strconv"
	"strings"
)

// isHost tells whether a Host or an :authority names a host in the one way that there
// is: a name or an address, and a port or none. Anything else is read in different ways
// by different servers, so that a request could come to be served as one for a host whose
// route it has not come by.
func isHost(authority string) bool {
	if in, ok := strings.CutPrefix(authority, "["); ok {
		address, port, closed := strings.Cut(in, "]")
		ip, err := netip.ParseAddr(address)
		return closed && err == nil && ip.Is6() && ip.Zone() == "" && (port == "" || port[0] == ':' && isPort(port[1:]))
	}
	name, port, _ := strings.Cut(authority, ":")
	if !isPort(port) {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isLabel tells whether a part of a host's name has what names have. Those of other
// alphabets come encoded, as "xn--...".
func isLabel(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != ""
}

// isPort tells whether what stands behind a colon is a port. Nothing is too.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil && s[0] != '+'
}
