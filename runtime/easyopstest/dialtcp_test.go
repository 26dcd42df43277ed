package easyopstest_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
)

// TestDialTCP: a TCP service of the server is found, and nothing of that is left when
// the test is over.
func TestDialTCP(t *testing.T) {
	s := easyopstest.Start(t, nil, easyops.WithTCP("lines", "127.0.0.1:0", func(_ context.Context, conn net.Conn) {
		_, _ = io.Copy(conn, conn)
	}))
	conn, err := easyops.DialTCP(t.Context(), "lines", s.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hi"); err != nil {
		t.Fatal(err)
	}
	heard := make([]byte, 2)
	if _, err := io.ReadFull(conn, heard); err != nil || string(heard) != "hi" {
		t.Errorf("heard %q, %v", heard, err)
	}
}
