package easyops_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
)

// A TCP service, and a program that finds it by its name.
func ExampleDialTCP() {
	s, err := easyops.Start(nil, easyops.WithTCP("shout", "127.0.0.1:0", func(_ context.Context, conn net.Conn) {
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, line+line)
	}), quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Shutdown(context.Background())

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := easyops.DialTCP(ctx, "shout", quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "hi\n")
	answer, err := io.ReadAll(conn)
	fmt.Print(string(answer))
	fmt.Println(err)

	easyops.CloseIdleTCP() // for this example, which leaves no goroutines
	// Output:
	// hi
	// hi
	// <nil>
}
