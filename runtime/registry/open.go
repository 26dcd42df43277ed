package registry

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Driver opens the registry that a URL names. The whole URL is passed, with
// its scheme. A driver does not wait for the registry to answer.
type Driver func(url string, logger *slog.Logger) (Registry, error)

// drivers is what init functions of implementations have linked in. It is
// global because a blank import is how a program chooses an implementation.
var drivers = struct {
	sync.RWMutex
	m map[string]Driver
}{m: map[string]Driver{}}

// separate are the packages of drivers that a program has to link in itself,
// because not every one should carry what they need.
var separate = map[string]string{
	"etcd": "github.com/go-easyops/easyops/runtime/registry/etcd",
}

// RegisterDriver makes [Open] use the driver for URLs of the scheme. It is
// called by init functions of implementations; a later call replaces an
// earlier one.
func RegisterDriver(scheme string, d Driver) {
	drivers.Lock()
	defer drivers.Unlock()
	drivers.m[scheme] = d
}

// Open returns the registry that the URL names: "local", "local:DIR", or a URL
// of a driver that is linked in. It does not wait for the registry to answer.
//
// For "none" it returns nil without an error: there is no registry, nothing is
// listed and nothing can be found.
func Open(url string, logger *slog.Logger) (Registry, error) {
	if url == "none" {
		return nil, nil
	}
	scheme, _, _ := strings.Cut(url, ":")
	drivers.RLock()
	open, known := drivers.m[scheme], slices.Sorted(maps.Keys(drivers.m))
	drivers.RUnlock()
	if open != nil {
		return open(url, logger)
	}
	if pkg := separate[scheme]; pkg != "" {
		return nil, fmt.Errorf("registry %q: nothing in this program speaks %s: add this line to the imports of its main package: import _ %q", Redact(url), scheme, pkg)
	}
	return nil, fmt.Errorf("registry %q is unknown: use %s%s", Redact(url), forms(known), meant(url))
}

// forms says how registries are named.
func forms(known []string) string {
	all := []string{"none"}
	for _, scheme := range known {
		if scheme == "local" {
			all = append(all, "local", "local:DIR")
		} else if separate[scheme] == "" {
			all = append(all, scheme+"://…")
		}
	}
	for _, scheme := range slices.Sorted(maps.Keys(separate)) {
		all = append(all, scheme+"://HOST:PORT,…")
	}
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}

// meant guesses what somebody means who names where an etcd is.
func meant(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	switch {
	case ok && (scheme == "http" || scheme == "https"):
	case !ok && ValidAddr(url) == nil:
		rest = url
	default:
		return ""
	}
	return ": did you mean " + Redact("etcd://"+rest) + "?"
}

// Redact returns a registry's URL without what may be secret in it, for logs and
// messages: the user, the password, the values of parameters.
func Redact(url string) string {
	scheme, rest, _ := strings.Cut(url, ":")
	if scheme == "local" {
		return url
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		slashes := ""
		if strings.HasPrefix(rest, "//") {
			slashes = "//"
		}
		url = scheme + ":" + slashes + "…" + rest[at:]
	}
	place, query, ok := strings.Cut(url, "?")
	if !ok {
		return url
	}
	names := strings.Split(query, "&")
	for i, parameter := range names {
		if name, _, ok := strings.Cut(parameter, "="); ok {
			names[i] = name + "=…"
		}
	}
	return place + "?" + strings.Join(names, "&")
}
