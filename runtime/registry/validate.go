package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
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

// ValidService reports whether a service may be listed under the name: up to
// 255 letters, digits, dots, underscores and dashes.
func ValidService(name string) bool {
	return made(name, 255, isNameChar) && isWordChar(name[0]) && isWordChar(name[len(name)-1])
}

// validHost reports whether a host can be a name in DNS, with or without the
// dot at its end.
func validHost(name string) bool {
	return made(name, 254, isNameChar) && isWordChar(name[0]) && !strings.HasSuffix(name, "-")
}

// made reports whether s consists of 1 to most characters of a kind. Regular
// expressions would do, but are compiled when a process starts, needed or not.
func made(s string, most int, of func(byte) bool) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if !of(s[i]) {
			return false
		}
	}
	return true
}

func isLower(c byte) bool    { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
func isWordChar(c byte) bool { return isLower(c) || 'A' <= c && c <= 'Z' || c == '_' }
func isNameChar(c byte) bool { return isWordChar(c) || c == '.' || c == '-' }
func isIDChar(c byte) bool   { return isWordChar(c) || c == '-' }
func isKindChar(c byte) bool { return isLower(c) || c == '-' }

// Validate returns all that is wrong with an entry, or nil.
func (i *Instance) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !made(i.ID, 64, isIDChar) {
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
		if !made(string(k), 16, isKindChar) {
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
		if !made(k, 64, isNameChar) {
			errs = append(errs, fmt.Errorf("tag %s: must be 1 to 64 letters, digits, dots, dashes or underscores", quote(k)))
		}
		if !plainText(v) {
			errs = append(errs, fmt.Errorf("tag %s: value %s: must be plain text of at most %d bytes", quote(k), quote(v), maxText))
		}
	}
	return errs
}

func (i *Instance) validateSize() error {
	if i.fits() {
		return nil
	}
	b, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("entry: %w", err)
	}
	if len(b) > MaxEntrySize {
		return fmt.Errorf("entry of %d bytes: must be at most %d: shorten the tags", len(b), MaxEntrySize)
	}
	return nil
}

// fits tells whether an entry surely is in order, without its JSON: to have that made
// for the first time takes some of the start of a server.
func (i *Instance) fits() bool {
	size := len(i.ID) + len(i.Service) + len(i.Addr) + len(i.Health) + len(i.Version) + len(i.Owner) + len(i.StatusAddr)
	for _, k := range i.Kinds {
		size += len(k) + 1
	}
	for name, value := range i.Tags {
		size += len(name) + len(value) + 1
	}
	_, err := i.Started.MarshalText() // fails as that of JSON does
	return err == nil && 6*size+256 <= MaxEntrySize
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
		if zone := ip.Zone(); zone != "" && !made(zone, 15, isNameChar) { // as long as Linux has names of interfaces
			return fmt.Errorf("address %s: the zone after %% must be a plain name", quote(addr))
		}
		if ip.IsUnspecified() {
			return fmt.Errorf("address %s: nobody can connect to the unspecified address", quote(addr))
		}
		return nil
	}
	if !validHost(host) {
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
