//go:build !linux

package status

import (
	"errors"
	"net/netip"
)

// socketOwner is not known on this system.
func socketOwner(_, _ netip.AddrPort) (int, error) { return 0, errors.ErrUnsupported }
