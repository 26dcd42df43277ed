package etcdserver

import (
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func answers(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func TestOneMember(t *testing.T) {
	c, err := Start(t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !answers(c.Endpoints()[0]) || c.Leader() != 0 {
		t.Fatalf("nobody answers, or member %d leads", c.Leader())
	}
	if err := c.Restart(0); err == nil {
		t.Error("a member that runs was started")
	}
	c.Kill(0)
	if answers(c.Endpoints()[0]) || c.Leader() != -1 {
		t.Fatal("still there")
	}
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	if err := c.Wipe(); err != nil {
		t.Fatal(err)
	}
	if !answers(c.Endpoints()[0]) {
		t.Fatal("nobody answers after a wipe")
	}
}

func TestThreeMembers(t *testing.T) {
	c, err := Start(t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	old := c.Leader()
	c.Kill(old)
	for deadline := time.Now().Add(10 * time.Second); c.Leader() < 0 || c.Leader() == old; {
		if time.Now().After(deadline) {
			t.Fatal("no new leader")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.Restart(old); err != nil {
		t.Fatal(err)
	}
}
