package rotation

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-easyops/easyops/test/issue"
)

// keys sign the tokens of users and services, and are known by a file.
type keys struct {
	dir     string
	service string // the file with the token of a service

	user, operator token
}

// token is one that is replaced while calls are made with it.
type token struct{ current atomic.Pointer[string] }

func (k *token) set(s string) { k.current.Store(&s) }
func (k *token) get() string  { return *k.current.Load() }

// source is a [auth.TokenSource].
func (k *token) source(context.Context) (string, error) { return k.get(), nil }

func newKeys(t *testing.T) *keys {
	t.Helper()
	dir := t.TempDir()
	k := &keys{dir: filepath.Join(dir, "keys"), service: filepath.Join(dir, "service.token")}
	issue.Easyops(t, "keys", "new", k.dir)
	k.renew(t)
	return k
}

func (k *keys) file() string { return filepath.Join(k.dir, "jwks.json") }

// specs tell a server of the keys.
func (k *keys) specs() string {
	spec := "jwks:" + k.file() + "?audience=" + audience
	return spec + "&issuer=easyops-users&use=user," + spec + "&issuer=easyops-services&use=service"
}

// make makes a token.
func (k *keys) make(t *testing.T, args ...string) string {
	t.Helper()
	return issue.Easyops(t, append([]string{"token", "--keys=" + k.dir, "--audience=" + audience}, args...)...)
}

// renew gives everyone tokens by the key that signs now.
func (k *keys) renew(t *testing.T) {
	t.Helper()
	k.user.set(k.make(t, "--user=alice", "--groups=staff"))
	k.operator.set(k.make(t, "--user=olga"))
	k.make(t, "--service=worker", "--out="+k.service)
}

// rotate has a new key sign. The old one stays known.
func (k *keys) rotate(t *testing.T) {
	t.Helper()
	issue.Easyops(t, "keys", "rotate", k.dir)
}

// dropOld leaves only the key that signs.
func (k *keys) dropOld(t *testing.T) {
	t.Helper()
	issue.Easyops(t, "keys", "retire", k.dir)
}
