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
	return nil, fmt.Errorf("registry %q is unknown: use none or %s (local:DIR for a directory of your own)", Redact(url), strings.Join(known, ", "))
}

// Redact returns a registry's URL without the user and the password in it, for
// logs and messages.
func Redact(url string) string {
	scheme, rest, ok := strings.Cut(url, "//")
	at := strings.LastIndex(rest, "@")
	if !ok || at < 0 {
		return url
	}
	return scheme + "//…" + rest[at:]
}
