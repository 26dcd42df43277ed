package edge

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// peerOf returns the process at the other end of a Unix socket, as the kernel noted it
// when that was connected or, of the listener's side, when it listened.
func peerOf(conn *net.UnixConn) (*syscall.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *syscall.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		peer, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil {
		return nil, err
	}
	return peer, failed
}

// sameUser wants the other process to be of our own user.
func sameUser(conn *net.UnixConn) error {
	peer, err := peerOf(conn)
	switch {
	case err != nil:
		return fmt.Errorf("hand-over: whose process that is: %w", err)
	case int(peer.Uid) != os.Geteuid():
		return fmt.Errorf("hand-over: process %d is of user %d and this one of user %d: run both as the same user", peer.Pid, peer.Uid, os.Geteuid())
	}
	return nil
}

func processOf(conn *net.UnixConn) int {
	peer, err := peerOf(conn)
	if err != nil {
		return 0
	}
	return int(peer.Pid)
}
