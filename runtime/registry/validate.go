package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// The bounds of entries. Implementations keep to them when they write and when
// they read, because other programs write to a registry as well.
const (
	MaxEntrySize = 4 << 10 // bytes of an entry in JSON
	MaxInstances = 20_000  // instances of a service; more are ignored
)

const (
	maxKinds = 8
	maxTags  = 32
	maxText  = 256 // bytes of version, owner or a tag's value
)

var (
	serviceName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,253}[A-Za-z0-9_])?$`)
	instanceID  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	kindName    = regexp.MustCompile(`^[a-z0-9-]{1,16}$`)
	tagName     = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	hostName    = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?$`)
)

// ValidService reports whether a service may be listed under the name: up to
// 255 letters, digits, dots, underscores and dashes.
func ValidService(name string) bool { return serviceName.MatchString(name) }

// Validate returns all that is wrong with an entry, or nil.
func (i *Instance) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !instanceID.MatchString(i.ID) {
		fail("instance ID %s: must be 1 to 64 letters, digits, dashes or underscores", quote(i.ID))
	}
	if !ValidService(i.Service) {
		fail("service name %s: must be 1 to 255 letters, digits, dots, dashes or underscores", quote(i.Service))
	}
	if err := ValidAddr(i.Addr); err != nil {
		errs = append(errs, err)
	}
	if i.StatusAddr != "" {
		if err := ValidAddr(i.StatusAddr); err != nil {
			fail("status %w", err)
		}
	}
	if !i.Health.valid() {
		fail("health %s: must be STARTING, READY, NOT_READY or STOPPING", quote(string(i.Health)))
	}
	if len(i.Kinds) == 0 || len(i.Kinds) > maxKinds {
		fail("%d kinds: must be 1 to %d", len(i.Kinds), maxKinds)
	}
	for _, k := range i.Kinds {
		if !kindName.MatchString(string(k)) {
			fail("kind %s: must be lower-case letters, digits and dashes", quote(string(k)))
		}
	}
	errs = append(errs, i.validateTexts()...)
	if len(errs) == 0 {
		errs = append(errs, i.validateSize())
	}
	return errors.Join(errs...)
}

// ValidateAll returns all that is wrong with the entries of one server: those
// that [Registry.Register] and [Lease.Update] are given.
func ValidateAll(instances []Instance) error {
	if len(instances) == 0 {
		return errors.New("no instances to register")
	}
	var errs []error
	seen := map[string]bool{}
	for n := range instances {
		i := &instances[n]
		if err := i.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", quote(i.Service), err))
		}
		if i.ID != instances[0].ID {
			errs = append(errs, fmt.Errorf("%s: ID %s: all entries of a server must share one, %s", quote(i.Service), quote(i.ID), quote(instances[0].ID)))
		}
		if seen[i.Service] {
			errs = append(errs, fmt.Errorf("service %s is listed twice", quote(i.Service)))
		}
		seen[i.Service] = true
	}
	return errors.Join(errs...)
}

func (i *Instance) validateTexts() (errs []error) {
	if !plainText(i.Version) {
		errs = append(errs, fmt.Errorf("version %s: must be plain text of at most %d bytes", quote(i.Version), maxText))
	}
	if !plainText(i.Owner) {
		errs = append(errs, fmt.Errorf("owner %s: must be plain text of at most %d bytes", quote(i.Owner), maxText))
	}
	if len(i.Tags) > maxTags {
		return append(errs, fmt.Errorf("%d tags: must be at most %d", len(i.Tags), maxTags))
	}
	for k, v := range i.Tags {
		if !tagName.MatchString(k) {
			errs = append(errs, fmt.Errorf("tag %s: must be 1 to 64 letters, digits, dots, dashes or underscores", quote(k)))
		}
		if !plainText(v) {
			errs = append(errs, fmt.Errorf("tag %s: value %s: must be plain text of at most %d bytes", quote(k), quote(v), maxText))
		}
	}
	return errs
}

func (i *Instance) validateSize() error {
	b, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("entry: %w", err)
	}
	if len(b) > MaxEntrySize {
		return fmt.Errorf("entry of %d bytes: must be at most %d: shorten the tags", len(b), MaxEntrySize)
	}
	return nil
}

func (h Health) valid() bool {
	return h == Starting || h == Ready || h == NotReady || h == Stopping
}

// ValidAddr returns an error unless others can connect to the address: a host
// that is a name or an IP address other than the unspecified one, and a port
// from 1 to 65535.
func ValidAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %s: must be host:port", quote(addr))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %s: the port must be 1 to 65535", quote(addr))
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() {
			return fmt.Errorf("address %s: nobody can connect to the unspecified address", quote(addr))
		}
		return nil
	}
	if !hostName.MatchString(host) {
		return fmt.Errorf("address %s: the host must be a name or an IP address", quote(addr))
	}
	return nil
}

func plainText(s string) bool {
	if len(s) > maxText || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// quote makes what a stranger wrote fit for a log line.
func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strconv.QuoteToASCII(s)
}
