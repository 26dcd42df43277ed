package easyops

import "testing"

func TestParsePrefix(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.7":         "10.0.0.7/32",
		"::ffff:10.0.0.7":  "10.0.0.7/32",
		"::1":              "::1/128",
		"10.0.0.0/8":       "10.0.0.0/8",
		"fd00::/8":         "fd00::/8",
		"0.0.0.0/0":        "0.0.0.0/0",
		"":                 "",
		"10.0.0.7/8":       "",
		"10.0.0.0/33":      "",
		"::ffff:a00:0/104": "", // looks as if it were 10.0.0.0/8
		"proxy.example":    "",
		" 10.0.0.7":        "",
	} {
		p, err := parsePrefix(text)
		if got := p.String(); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%q: %s, %v; want %q", text, got, err, want)
		}
	}
}
