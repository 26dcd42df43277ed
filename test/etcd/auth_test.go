package etcd

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/test/etcdserver"
)

// tokenTime is how long etcd takes a token in these tests, in seconds.
const tokenTime = 2

// startWithUsers starts an etcd with the users root, echo, who may write the
// names of one service and read all, and reader. Passwords are the names.
func startWithUsers(t *testing.T) *etcdserver.Cluster {
	t.Helper()
	c := startEtcd(t, 1, func(cfg *embed.Config) { cfg.BcryptCost, cfg.AuthTokenTTL = 4, tokenTime })
	enableUsers(t, c)
	return c
}

func enableUsers(t *testing.T, c *etcdserver.Cluster) {
	t.Helper()
	cl := client(t, c.Endpoints())
	ctx := t.Context()
	all := func(key string) string { return clientv3.GetPrefixRangeEnd(key) }
	grant := func(role, key string, p clientv3.PermissionType) {
		if _, err := cl.RoleGrantPermission(ctx, role, key, all(key), p); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"root", "echo", "reader"} {
		if _, err := cl.UserAdd(ctx, name, name); err != nil {
			t.Fatal(err)
		}
		if _, err := cl.RoleAdd(ctx, name); err != nil {
			t.Fatal(err)
		}
		if _, err := cl.UserGrantRole(ctx, name, name); err != nil {
			t.Fatal(err)
		}
	}
	grant("echo", "easyops/echo.v1.EchoService/", clientv3.PermissionType(clientv3.PermReadWrite))
	grant("echo", "easyops/", clientv3.PermissionType(clientv3.PermRead))
	grant("reader", "easyops/", clientv3.PermissionType(clientv3.PermRead))
	if _, err := cl.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
}

func passwordFile(t *testing.T, password string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func as(t *testing.T, c *etcdserver.Cluster, user string) registry.Registry {
	t.Helper()
	return open(t, "etcd://"+user+"@"+c.Endpoints()[0]+"?password-file="+passwordFile(t, user))
}

// TestOwnNamesOnly has a role that lets a service write its own names.
func TestOwnNamesOnly(t *testing.T) {
	t.Parallel()
	c := startWithUsers(t)
	r := as(t, c, "echo")
	w := watch(t, as(t, c, "reader"), "echo.v1.EchoService")
	w.waitFor("[]", 5*time.Second)
	l := register(t, r, entries("one", registry.Ready, "echo.v1.EchoService"))
	w.waitFor("[one=READY]", 5*time.Second)

	for _, tt := range []struct {
		r    registry.Registry
		list []registry.Instance
		want string
	}{
		{r, entries("bad", registry.Ready, "bank.v1.BankService"), `a role of user "echo" must allow it: readwrite of keys that begin with easyops/bank.v1.BankService/`},
		{r, entries("bad", registry.Ready, "echo.v1.EchoService", "bank.v1.BankService"), "begin with easyops/bank.v1.BankService/ or easyops/echo.v1.EchoService/"},
		{as(t, c, "reader"), entries("bad", registry.Ready, "echo.v1.EchoService"), `user "reader"`},
		{open(t, c.URL()), entries("bad", registry.Ready, "echo.v1.EchoService"), "name user and password-file"},
		{open(t, "etcd://echo@"+c.Endpoints()[0]+"?password-file="+passwordFile(t, "wrong")), entries("bad", registry.Ready, "echo.v1.EchoService"), "authentication failed"},
	} {
		if _, err := tt.r.Register(t.Context(), tt.list); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	root := client(t, c.Endpoints(), func(cfg *clientv3.Config) { cfg.Username, cfg.Password = "root", "root" })
	if left := keys(t, root, "easyops/"); len(left) != 1 {
		t.Errorf("listed: %v", left)
	}

	// A role that may read nothing, or one service.
	if _, err := root.RoleRevokePermission(t.Context(), "echo", "easyops/", clientv3.GetPrefixRangeEnd("easyops/")); err != nil {
		t.Fatal(err)
	}
	blind := watch(t, r, "bank.v1.BankService")
	blind.waitFor("error", 5*time.Second)
	_, err := r.(registry.Lister).Services(t.Context())
	for err, want := range map[error]string{
		blind.lastErr(): "read of keys that begin with easyops/bank.v1.BankService/",
		err:             "read of keys that begin with easyops/",
	} {
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}

	no := watch(t, open(t, c.URL()), "echo.v1.EchoService")
	no.waitFor("error", 5*time.Second)

	// Tokens end, the connection goes on.
	time.Sleep(2 * tokenTime * time.Second)
	if err := l.Update(t.Context(), entries("one", registry.Stopping, "echo.v1.EchoService")); err != nil {
		t.Fatal(err)
	}
	w.waitFor("[one=STOPPING]", 5*time.Second)
	time.Sleep(leaseTime) // and the lease is renewed
	if got := w.history(); len(got) != 3 {
		t.Errorf("said %q", got)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	w.waitFor("[]", 5*time.Second)
}

// TestPasswordChanges has the file with the password follow later than etcd.
func TestPasswordChanges(t *testing.T) {
	t.Parallel()
	c := startWithUsers(t)
	file := passwordFile(t, "echo")
	r := open(t, "etcd://"+c.Endpoints()[0]+"?user=echo&password-file="+file)
	register(t, r, entries("one", registry.Ready, "echo.v1.EchoService"))
	root := client(t, c.Endpoints(), func(cfg *clientv3.Config) { cfg.Username, cfg.Password = "root", "root" })
	if _, err := root.UserChangePassword(t.Context(), "echo", "changed"); err != nil {
		t.Fatal(err)
	}
	try := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		l, err := r.Register(ctx, entries("two", registry.Ready, "echo.v1.EchoService"))
		if err == nil {
			err = l.Close(ctx)
		}
		return err
	}
	await(t, "the old password is refused", 10*time.Second, func() bool { return try() != nil })
	if err := os.WriteFile(file, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := try(); err != nil {
		t.Error(err)
	}
}

// TestUsersLater enables users while servers and clients run.
func TestUsersLater(t *testing.T) {
	c := startEtcd(t, 1, func(cfg *embed.Config) { cfg.BcryptCost = 4 })
	r := as(t, c, "echo")
	publish(t, r, entries("one", registry.Ready, "echo.v1.EchoService"))
	w := watch(t, r, "echo.v1.EchoService")
	w.waitFor("[one=READY]", 5*time.Second)
	enableUsers(t, c)
	l := register(t, r, entries("two", registry.Ready, "echo.v1.EchoService"))
	w.waitFor("[one=READY two=READY]", 10*time.Second)
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.waitFor("[one=READY]", 10*time.Second)
}
