package edge

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/easyops"
)

const flagPrefix = "easyops."

// settings are those of a server that an edge needs itself.
type settings struct {
	flags *flag.FlagSet // nil: neither flags nor environment
}

// get returns what a flag says, else its environment variable, as the server reads it.
func (s settings) get(name string) string {
	if s.flags == nil {
		return ""
	}
	if f := s.flags.Lookup(flagPrefix + name); f != nil && f.Value.String() != "" {
		return f.Value.String()
	}
	return os.Getenv("EASYOPS_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
}

// address is where the edge listens: by its flag, else as the file says.
func (s settings) address(f *routes.File) (string, error) {
	if addr := s.get("addr"); addr != "" {
		return addr, nil
	}
	if f.Listen == "" {
		return "", fmt.Errorf("%s says nowhere to listen: add \"listen: :8443\" to it, or set -easyops.addr", f.Name)
	}
	return f.Listen, nil
}

// defaultAdmin is where the status pages are if nobody says it: never on the port of
// the routes.
const defaultAdmin = "127.0.0.1:0"

func (s settings) admin(f *routes.File) string {
	if addr := s.get("status-addr"); addr != "" {
		return addr
	}
	if f.Admin != "" {
		return f.Admin
	}
	return defaultAdmin
}

func (s settings) registry() string {
	if url := s.get("registry"); url != "" {
		return url
	}
	return "local"
}

// zone is that of the edge's tags.
func (s settings) zone() string {
	for tag := range strings.SplitSeq(s.get("tags"), ",") {
		if zone, ok := strings.CutPrefix(strings.TrimSpace(tag), "zone="); ok {
			return zone
		}
	}
	return ""
}

// client are the settings of connections to services: those of the edge without what
// says who it is, because it stands for nobody.
func (s settings) client() (easyops.DialOption, error) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	easyops.RegisterFlags(fs)
	var errs []error
	for _, name := range []string{"tls-cert", "tls-key", "service-token"} {
		errs = append(errs, fs.Set(flagPrefix+name, "")) // wins over the environment
	}
	for _, name := range []string{"registry", "tls-ca", "tags", "insecure-plaintext", "log-level"} {
		if value := s.get(name); value != "" {
			errs = append(errs, fs.Set(flagPrefix+name, value))
		}
	}
	return easyops.WithFlags(fs), errors.Join(errs...)
}
