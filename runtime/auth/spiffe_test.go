package auth

import (
	"net/url"
	"strings"
	"testing"
)

func TestParseSPIFFE(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	for s, want := range map[string]spiffeID{
		"spiffe://example.org/billing":                {"example.org", "/billing"},
		"spiffe://a-b_c.9/ns/Prod/sa/x.v1.Y_Z-9":      {"a-b_c.9", "/ns/Prod/sa/x.v1.Y_Z-9"},
		"spiffe://example.org/...":                    {"example.org", "/..."},
		"spiffe://" + long(255) + "/x":                {long(255), "/x"},
		"spiffe://e/" + long(2048-len("spiffe://e/")): {"e", "/" + long(2048-len("spiffe://e/"))},
	} {
		got, err := parseSPIFFE(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "spiffe", "spiffe:", "spiffe:/example.org/x", "spiffe://", "spiffe:///x", "http://example.org/x", "SPIFFE://example.org/x",
		"spiffe://example.org", "spiffe://example.org/", "spiffe://example.org//x", "spiffe://example.org/x/", "spiffe://example.org/x//y",
		"spiffe://example.org/.", "spiffe://example.org/x/./y", "spiffe://example.org/..", "spiffe://example.org/x/../y",
		"spiffe://Example.org/x", "spiffe://example.org:80/x", "spiffe://me@example.org/x", "spiffe://me:pw@example.org/x", "spiffe://exämple/x", "spiffe://[::1]/x",
		"spiffe://example.org/x?a=b", "spiffe://example.org/x?", "spiffe://example.org/x#y", "spiffe://example.org/x#", "spiffe://example.org?x", "spiffe://example.org#/x",
		"spiffe://example.org/%62illing", "spiffe://example.org/a%2fb", "spiffe://example.org/ä", "spiffe://example.org/a b", "spiffe://example.org/a\x00", "spiffe://example.org/a\n",
		"spiffe://example.org/a*", "spiffe://example.org/a~b", "spiffe://example.org/a:b", " spiffe://example.org/x", "spiffe://example.org/\xff",
		"spiffe://" + long(256) + "/x", "spiffe://e/" + long(2049-len("spiffe://e/")),
	} {
		if got, err := parseSPIFFE(s); err == nil || got != (spiffeID{}) {
			t.Errorf("%q: got %v, %v, want an error", s, got, err)
		}
	}
}

func FuzzSPIFFE(f *testing.F) {
	for _, s := range []string{echoID, abroadID, "spiffe://example.org", "spiffe://e/../x", "spiffe://e:1/x?y#z", "spiffe://e/%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseSPIFFE(s)
		if err != nil {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "spiffe" || u.Host != id.domain || u.Path != id.path || u.User != nil || u.Port() != "" ||
			u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawPath != "" || u.String() != s || id.String() != s {
			t.Errorf("%q: taken as %v, but as URL it is %+v, %v", s, id, u, err)
		}
		if id.path != "/" && u.JoinPath().String() != s {
			t.Errorf("%q: cleaned it is %q", s, u.JoinPath())
		}
		if name := id.name(); name == "" || strings.Contains(name, "/") {
			t.Errorf("%q: name %q", s, name)
		}
	})
}
