package status

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// socketOwner is the user ID that owns the socket of a peer on this machine:
// the one whose local address is peer and whose remote address is local. The
// kernel lists a socket that reaches an IPv4 address from an IPv6 socket
// among the IPv6 ones.
func socketOwner(peer, local netip.AddrPort) (int, error) {
	for _, table := range [...]string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		uid, err := findOwner(table, peer, local)
		if !errors.Is(err, errNoSocket) && !errors.Is(err, os.ErrNotExist) {
			return uid, err
		}
	}
	return 0, errNoSocket
}

// findOwner looks through one of the kernel's tables (proc(5)):
//
//	sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
func findOwner(table string, peer, local netip.AddrPort) (int, error) {
	f, err := os.Open(table)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		col := strings.Fields(lines.Text())
		if len(col) < 10 || kernelAddr(col[1]) != peer || kernelAddr(col[2]) != local {
			continue
		}
		// A socket that its process has closed has no inode and is listed
		// as user 0's, whoever had it.
		if col[9] == "0" {
			continue
		}
		return strconv.Atoi(col[7])
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, errNoSocket
}

// kernelAddr reads an address of the kernel's tables: words of 32 bits in the
// machine's byte order, a colon, and the port, all in hexadecimal.
func kernelAddr(s string) netip.AddrPort {
	addr, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(addr)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	ip, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n))
}
