package port

import (
	"net"
	"syscall"
	"time"
)

const tcpUserTimeout = 0x12 // TCP_USER_TIMEOUT (RFC 5482), which package syscall lacks

// setUserTimeout makes the kernel give up a connection whose peer acknowledges nothing for d.
// grpc-go does the same, but only for connections that are a *net.TCPConn to it.
func setUserTimeout(nc net.Conn, d time.Duration) error {
	sc, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}

const canReadNow = true

// readNow reads what the kernel has of a socket that does not block, nothing at its end, or tells
// to wait for something.
func readNow(fd uintptr, b []byte) (n int, wait bool, err error) {
	for {
		if n, err = syscall.Read(int(fd), b); err != syscall.EINTR {
			return n, err == syscall.EAGAIN, err
		}
	}
}
