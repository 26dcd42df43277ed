package edge

import "testing"

func TestIsHost(t *testing.T) {
	for _, host := range []string{
		"localhost", "localhost:8443", "shop.example.com", "SHOP.Example.com:443", "shop.example.com.", "shop.example.com.:1", "a_b-c.xn--mnchen-3ya.de",
		"127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:443", "[2001:db8::1]:", "host:",
	} {
		if !isHost(host) {
			t.Errorf("%q is refused", host)
		}
	}
	for _, host := range []string{
		"", " ", ".", "..", "a..b", "a..", ".a", ":80", "a b", " a", "a ", "a\t", "a,b", "a/", "a/b", "a?b", "a#b", "a@b", "a:b@c", "a:80@b", "a\\b", "a;b", "a%2e", "%61",
		"a:80:80", "a:80a", "a:+80", "a:65536", "a:99999", "[::1]:99999", "a,b.example.com", "..example.com", "169.254.169.254%2f.example.com", "[a.example.com]", "a\x00", "a\r\nb", "::1", "[::1", "::1]", "[::1]a", "[::1%25eth0]:1", "[127.0.0.1]", "[a]", "[]", "\u00fcber.de", "a*b", "'a'", "(a)", "a|b", "<a>",
	} {
		if isHost(host) {
			t.Errorf("%q passes", host)
		}
	}
}
