//go:build !linux

package port

import (
	"errors"
	"net"
	"time"
)

// setUserTimeout needs Linux.
func setUserTimeout(net.Conn, time.Duration) error { return nil }

const canReadNow = false

// readNow needs Linux.
func readNow(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }
