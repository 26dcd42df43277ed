package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// transferBytes are how many go in each direction.
const transferBytes = 100_000_000

// The directions of a transfer, and what a client asks for them by: the first
// letter. Over loopback bytes go as fast as memory does, and on a machine of few
// cores whatever is in between takes them from the ends. So what is heard is looked
// at in two ways: by a checksum that costs next to nothing, and by one that costs
// what little a program does that has some use for the bytes.
const (
	up      = "up"
	down    = "down"
	both    = "both"
	checked = "checked: both, by SHA-256"
)

var directions = []string{up, down, both, checked}

// digest is what the ends look at bytes by.
func digest(direction byte) hash.Hash {
	if direction == checked[0] {
		return sha256.New()
	}
	return crc32.New(castagnoli)
}

// transfer is what was measured of one direction, a value for each turn.
type transfer struct {
	Rate map[string][]float64 // MB a second, by what it went through
	CPU  map[string][]float64 // of what is in between, ms for each 100 MB in a direction
}

// block is what is sent, again and again. Its length is none of a buffer's.
var block = sync.OnceValue(func() []byte {
	b := make([]byte, 999_983)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(b) // it has no end
	return b
})

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// bytesService is a TCP service that takes bytes, gives bytes, or both at the same
// time: the client says which by a byte and how many by eight. What it has taken
// it answers with the checksum of.
func bytesService(_ context.Context, conn net.Conn) {
	var asked [9]byte
	if _, err := io.ReadFull(conn, asked[:]); err != nil {
		return
	}
	n := int64(binary.BigEndian.Uint64(asked[1:]))
	var giving sync.WaitGroup
	if asked[0] != up[0] {
		giving.Go(func() { _ = give(conn, n) })
	}
	if asked[0] == down[0] {
		giving.Wait()
		return
	}
	sum, err := take(conn, n, asked[0])
	giving.Wait()
	if err == nil {
		_, _ = conn.Write(sum) // the client notices what it does not get
	}
}

// servePlain serves the same on a listener of package net.
func servePlain(addr string) error {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return // the process ends
			}
			go func() {
				defer conn.Close()
				bytesService(context.Background(), conn)
			}()
		}
	}()
	return nil
}

func give(w io.Writer, n int64) error {
	for n > 0 {
		part := block()[:min(n, int64(len(block())))]
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

func take(r io.Reader, n int64, direction byte) (sum []byte, err error) {
	h, buf := digest(direction), make([]byte, 256<<10)
	for n > 0 {
		m, err := r.Read(buf[:min(n, int64(len(buf)))])
		_, _ = h.Write(buf[:m]) // a hash takes everything
		if n -= int64(m); err != nil && n > 0 {
			return nil, err
		}
	}
	return h.Sum(nil), nil
}

// sumOf is the checksum of what give gives.
func sumOf(n int64, direction byte) []byte {
	h := digest(direction)
	_ = give(h, n) // a hash takes everything
	return h.Sum(nil)
}

// move moves bytes by a connection of its own, and returns how long that took. The
// checksums must be right on both sides.
func move(addr, direction string, n int64) (time.Duration, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	want := sumOf(n, direction[0])
	begin := time.Now()
	asked := binary.BigEndian.AppendUint64([]byte{direction[0]}, uint64(n))
	if _, err := conn.Write(asked); err != nil {
		return 0, err
	}
	var giving sync.WaitGroup
	var gave error
	if direction != down {
		giving.Go(func() { gave = give(conn, n) })
	}
	sum, heard := want, bytes.Clone(want)
	if direction != up {
		sum, err = take(conn, n, direction[0])
	}
	giving.Wait()
	if direction != down {
		_, e := io.ReadFull(conn, heard)
		err = errors.Join(err, gave, e)
	}
	took := time.Since(begin)
	switch {
	case err != nil:
		return took, fmt.Errorf("%s, %s: %w", addr, direction, err)
	case !bytes.Equal(sum, want) || !bytes.Equal(heard, want):
		return took, fmt.Errorf("%s, %s: what has arrived is not what was sent", addr, direction)
	}
	return took, nil
}

// measureTransfers moves bytes by the edge and directly, in turns.
func (f *fronts) measureTransfers() (all map[string]*transfer, err error) {
	n := int64(transferBytes)
	if f.pairs < 2 {
		n /= 100 // it is a test
	}
	if err := f.start(); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	progress("edge: %d bytes by TCP, %d times", n, f.pairs)
	all = map[string]*transfer{}
	for _, direction := range directions {
		t := &transfer{Rate: map[string][]float64{}, CPU: map[string][]float64{}}
		all[direction] = t
		for turn := range f.pairs + 1 {
			for _, name := range orderOf(f.names, turn) {
				if err := f.moveTurn(t, name, direction, n, turn > 0); err != nil {
					return nil, err
				}
			}
		}
	}
	return all, nil
}

// moveTurn notes the figures of a turn, unless it warms up.
func (f *fronts) moveTurn(t *transfer, name, direction string, n int64, counts bool) error {
	before, err := f.usage(name)
	if err != nil {
		return err
	}
	took, err := move(f.tcpAddrs[name], direction, n)
	if err != nil || !counts {
		return err
	}
	after, err := f.usage(name)
	if err != nil {
		return err
	}
	t.Rate[name] = append(t.Rate[name], float64(n)/1e6/took.Seconds())
	moved := n
	if direction == both || direction == checked {
		moved *= 2
	}
	t.CPU[name] = append(t.CPU[name], micros(after.CPU-before.CPU)/1000*1e8/float64(moved))
	return nil
}

func (r *report) transferTable() *table {
	t := &table{
		title:   fmt.Sprintf("%d MB by a TCP connection", transferBytes/1_000_000),
		columns: []string{"direction", "by", "MB/s", "against direct", "CPU of what is in between, ms for each 100 MB", "runs"},
	}
	for _, direction := range directions {
		for _, name := range []string{edge, haproxy, direct, plain} {
			if m := r.Transfers[direction]; m != nil && len(m.Rate[name]) > 0 {
				cpu := spreadOf(m.CPU[name]).String()
				if name == direct || name == plain {
					cpu = "-"
				}
				t.add(direction, name, spreadOf(m.Rate[name]), ratios(m.Rate[name], m.Rate[direct]), cpu, len(m.Rate[name]))
			}
		}
	}
	return t
}

// transferGoals are 0.8 of the rate of a direct connection, of a TCP service and of
// the edge.
func (r *report) transferGoals() (list []goal) {
	for _, g := range []struct{ direction, what, of, by string }{
		{both, "a TCP service against a plain listener", direct, plain},
		{both, "the edge against a direct connection", edge, direct},
		{checked, "the edge against a direct connection, where the ends compute SHA-256", edge, direct},
	} {
		if m := r.Transfers[g.direction]; m != nil {
			what := fmt.Sprintf("time of %d MB each way by TCP: %s", transferBytes/1_000_000, g.what)
			list = append(list, goal{What: what, Figure: ratios(m.Rate[g.by], m.Rate[g.of]), AtMost: 1.25})
		}
	}
	return list
}
