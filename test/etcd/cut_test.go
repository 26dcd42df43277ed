package etcd

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/test/etcdserver"
)

// childURL is the variable that makes the test binary a server process, which
// is registered as "child", says so, and waits for its death.
const childURL = "EASYOPS_TEST_CHILD_URL"

func child(url string) {
	r, err := registry.Open(url, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	p := registry.NewPublisher(r, slog.New(slog.DiscardHandler))
	p.Set(entries("child", registry.Ready, "echo"))
	for p.State() != registry.Registered {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("registered")
	<-context.Background().Done()
}

func startChild(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "registered\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return cmd
}

func TestKilledServer(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	cmd := startChild(t, c.URL())
	cl := client(t, c.Endpoints())
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	took := await(t, "the key is gone", leaseTime+time.Second, func() bool { return len(keys(t, cl, "easyops/")) == 0 })
	t.Logf("gone after %v", took)
}

// TestStoppedServer stops a process for longer than its lease.
func TestStoppedServer(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	cmd := startChild(t, c.URL())
	cl := client(t, c.Endpoints())
	listed := func() bool { return len(keys(t, cl, "easyops/")) == 1 }
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, "the key is gone", leaseTime+2*time.Second, func() bool { return !listed() })
	time.Sleep(leaseTime)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	t.Logf("back after %v", await(t, "the key is back", 5*time.Second, listed))
}

func newProxy(t *testing.T, c *etcdserver.Cluster) *etcdserver.Proxy {
	t.Helper()
	p, err := etcdserver.NewProxy(c.Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestServerCutOff cuts one server off from etcd for longer than a lease.
func TestServerCutOff(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	proxy := newProxy(t, c)
	p := publish(t, open(t, "etcd://"+proxy.Addr()), entries("cut", registry.Ready, "echo"))
	r := open(t, c.URL())
	publish(t, r, entries("near", registry.Ready, "echo"))
	w := watch(t, r, "echo")
	w.waitFor("[cut=READY near=READY]", 5*time.Second)
	proxy.Hang(true)
	w.waitFor("[near=READY]", leaseTime+2*time.Second)
	await(t, "the server knows", 5*time.Second, func() bool { return p.State() == registry.Lost })
	time.Sleep(5 * time.Second)
	before := len(w.history())
	proxy.Hang(false)
	t.Logf("back after %v", w.waitFor("[cut=READY near=READY]", 5*time.Second))
	time.Sleep(3 * time.Second)
	if after := w.history()[before:]; len(after) != 1 {
		t.Errorf("the list flaps: %q", after)
	}
}

// TestClientCutOff has etcd fall silent for a client: what hangs is noticed,
// what is known stays.
func TestClientCutOff(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	proxy := newProxy(t, c)
	far, near := open(t, "etcd://"+proxy.Addr()), open(t, c.URL())
	l := register(t, near, entries("one", registry.Ready, "echo"))
	w := watch(t, far, "echo")
	w.waitFor("[one=READY]", 5*time.Second)
	time.Sleep(9 * time.Second) // nothing happens, and that is no failure
	if got := w.history(); len(got) != 1 {
		t.Fatalf("an idle watch says %q", got)
	}
	if age := time.Since(far.LastAnswer()); age > 4*time.Second {
		t.Errorf("the last answer is %v old", age)
	}
	proxy.Hang(true)
	t.Logf("noticed after %v: %v", w.waitFor("error", 10*time.Second), w.lastErr())
	if err := l.Close(t.Context()); err != nil { // unseen
		t.Fatal(err)
	}
	register(t, near, entries("two", registry.Ready, "echo"))
	time.Sleep(time.Second)
	age := time.Since(far.LastAnswer())
	if age < time.Second {
		t.Errorf("the last answer is %v old", age)
	}
	proxy.Hang(false)
	w.waitFor("[one=READY two=READY]", 5*time.Second) // one may come back
	w.waitFor("[two=READY]", leaseTime+2*time.Second)
	for _, said := range w.history()[1:] {
		if said == "[]" {
			t.Errorf("said %q", w.history())
		}
	}
}

// TestHungMember has one of three members hang: neither leases nor watches
// depend on one.
func TestHungMember(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 3)
	url, hung := "etcd://", (*etcdserver.Proxy)(nil)
	for n, endpoint := range c.Endpoints() {
		p, err := etcdserver.NewProxy(endpoint)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		if url += p.Addr(); n < 2 {
			url += ","
		}
		hung = p
	}
	far, near := open(t, url), open(t, c.URL())
	w := watch(t, near, "echo")
	for n := range 6 { // of which some have their streams at the one
		publish(t, far, entries(fmt.Sprint("s", n), registry.Ready, "echo"))
	}
	const all = "[s0=READY s1=READY s2=READY s3=READY s4=READY s5=READY]"
	w.waitFor(all, 10*time.Second)
	before := len(w.history())
	hung.Hang(true)
	time.Sleep(leaseTime + 5*time.Second)
	if after := w.history()[before:]; len(after) != 0 {
		t.Errorf("said %q", after)
	}
	hung.Hang(false)
}
