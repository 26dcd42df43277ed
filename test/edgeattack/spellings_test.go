package edgeattack

import (
	"fmt"
	"strings"
)

// spelling is a way to write a path of the status pages.
type spelling struct {
	name, target string
	harmless     bool // no known server reads it so: it need not be stopped
}

// spellings are those of each path.
func spellings() (all []spelling) {
	for _, path := range []string{"internal/help", "internal", "internal/", "metrics", "livez", "readyz"} {
		first, rest, _ := strings.Cut(path, "/")
		if strings.Contains(path, "/") {
			rest = "/" + rest
		}
		second := fmt.Sprintf("%s%%%02x%s", first[:1], first[1], first[2:]) // i%6eternal
		for name, target := range map[string]string{
			"plain":                     "/" + path,
			"query":                     "/" + path + "?a=b",
			"empty query":               "/" + path + "?",
			"fragment":                  "/" + path + "#a",
			"encoded fragment":          "/" + path + "%23a",
			"encoded query":             "/" + path + "%3fa=b",
			"upper case":                "/" + strings.ToUpper(path),
			"mixed case":                "/" + strings.ToUpper(path[:1]) + path[1:],
			"encoded letter":            "/" + second + rest,
			"encoded capital":           fmt.Sprintf("/%%%02X%s", strings.ToUpper(path[:1]), path[1:]),
			"each letter encoded":       "/" + encodeAll(first) + rest,
			"encoded twice":             "/" + strings.ReplaceAll(second, "%", "%25") + rest,
			"encoded three times":       "/" + strings.ReplaceAll(second, "%", "%2525") + rest,
			"two slashes":               "//" + path,
			"three slashes":             "///" + path,
			"slash behind":              "/" + path + "/",
			"slashes behind":            "/" + first + "//" + strings.TrimPrefix(rest, "/"),
			"dot":                       "/./" + path,
			"dots":                      "/a/../" + path,
			"dots at the root":          "/../" + path,
			"dots twice":                "/a/b/../../" + path,
			"dots below a route":        "/members/../" + path,
			"encoded dot":               "/%2e/" + path,
			"encoded dots":              "/a/%2e%2e/" + path,
			"half encoded dots":         "/a/.%2e/" + path,
			"dots encoded twice":        "/a/%252e%252e/" + path,
			"dots and encoded slash":    "/a/..%2f" + path,
			"all of it encoded":         "/a%2f..%2f" + path,
			"encoded slash":             "/%2f" + path,
			"encoded slash first":       "/." + "%2f" + path,
			"encoded slash, capital":    "/%2F" + path,
			"slash encoded twice":       "/%252f" + path,
			"encoded slash behind":      "/" + path + "%2fa",
			"backslash":                 `/\` + path,
			"backslash and dots":        `/a/..\` + path,
			"backslash behind":          `/` + path + `\a`,
			"encoded backslash":         "/%5c" + path,
			"encoded backslash, dots":   "/a/..%5c" + path,
			"encoded backslash behind":  "/" + path + "%5ca",
			"backslash encoded twice":   "/%255c" + path,
			"parameter":                 "/" + first + ";a=b" + rest,
			"empty parameter":           "/" + first + ";" + rest,
			"parameter before":          "/;a/" + path,
			"parameter and dots":        "/a/..;/" + path,
			"parameter and dots, b":     "/a/..;b=c/" + path,
			"encoded parameter":         "/" + first + "%3ba" + rest,
			"encoded NUL behind":        "/" + first + "%00" + rest,
			"encoded NUL and more":      "/" + first + "%00.html",
			"encoded space behind":      "/" + first + "%20" + rest,
			"encoded tab behind":        "/" + first + "%09" + rest,
			"encoded CRLF behind":       "/" + first + "%0d%0a" + rest,
			"encoded space before":      "/%20" + path,
			"dot behind":                "/" + first + "." + rest,
			"absolute":                  "http://{host}/" + path,
			"absolute, https":           "https://{host}/" + path,
			"absolute, other host":      "http://other.example/" + path,
			"absolute, upper case":      "HTTP://{host}/" + strings.ToUpper(path),
			"absolute, user":            "http://a@{host}/" + path,
			"absolute, two slashes":     "http://{host}//" + path,
			"absolute, dots":            "http://{host}/a/../" + path,
			"absolute, encoded":         "http://{host}/" + second + rest,
			"absolute, encoded slash":   "http://{host}/%2f" + path,
			"absolute below the root":   "/http://{host}/" + path,
			"no host":                   "http:///" + path,
			"two slashes and an host":   "//{host}/" + path,
			"no slash":                  path,
			"encoded slash in place":    "%2f" + path,
			"backslash in place":        `\` + path,
			"overlong slash":            "/%c0%af" + path,
			"full-width slash":          "/%ef%bc%8f" + path,
			"%u encoded letter":         fmt.Sprintf("/%%u%04x%s", path[0], path[1:]),
			"two slashes behind a name": "/a//../" + path,
			"dots and two slashes":      "/a/..//" + path,
		} {
			s := spelling{name: path + ": " + name, target: target}
			if below := strings.Contains(name, "behind") && !strings.Contains(rest, "/") && first != "internal"; below || odd[name] {
				s.harmless = isReserved(target) == ""
			}
			all = append(all, s)
		}
	}
	return all
}

// odd are spellings that no server is known for.
var odd = map[string]bool{
	"absolute below the root": true, "overlong slash": true, "full-width slash": true, "%u encoded letter": true,
	"two slashes and an host": true, "two slashes behind a name": true,
}

func encodeAll(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String()
}

// harmless are paths that look like those of the status pages and are none. They
// must reach the backend as they are.
var harmless = []string{
	"/", "/internals", "/internal-things/a", "/a/internal", "/a/metrics", "/metrics2", "/xlivez", "/readyzz/",
	"/a?x=/internal/help", "/a%2Fb", "/caf%C3%A9", "/a;b=c", "/a%20b", "/a/b.c/d..e", "/%7Euser/", "/a+b,c@d:e!f$g&h'i(j)k*l=m",
}
