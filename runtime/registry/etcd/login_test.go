package etcd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// asked is an etcd that logs people in, as a test wants it.
func asked(t *testing.T, answer func(context.Context, string) (string, error)) (l *login, logins *atomic.Int32, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "pw")
	write(t, file, "geheim\n")
	l, logins = newLogin(config{user: "u", passwordFile: file}, nil, nil), new(atomic.Int32)
	l.ask = func(ctx context.Context, password string) (string, error) {
		logins.Add(1)
		return answer(ctx, password)
	}
	return l, logins, file
}

// ask wants a token for three seconds.
func ask(t *testing.T, l *login, notBefore time.Time) (token, error) {
	ctx, cancel := context.WithTimeout(t.Context(), askTimeout)
	defer cancel()
	return l.get(ctx, notBefore)
}

// TestSlowLogin has etcd take longer for a login than its callers wait: it is
// not asked again meanwhile, and what comes in the end is used.
func TestSlowLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, logins, _ := asked(t, func(ctx context.Context, _ string) (string, error) {
			select {
			case <-time.After(loginTimeout - time.Second):
				return "token", nil
			case <-ctx.Done():
				return "", status.FromContextError(ctx.Err()).Err()
			}
		})
		defer l.close()
		began := time.Now()
		for {
			tok, err := ask(t, l, time.Time{})
			if err == nil {
				if tok.text != "token" {
					t.Errorf("got %q", tok.text)
				}
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "login") {
				t.Fatalf("it says %v", err)
			}
		}
		if d := time.Since(began); d != loginTimeout-time.Second {
			t.Errorf("logged in after %v", d)
		}
		if n := logins.Load(); n != 1 {
			t.Errorf("%d logins, want 1", n)
		}
		time.Sleep(24 * time.Hour) // nothing makes a token old but etcd
		if _, err := ask(t, l, time.Time{}); err != nil || logins.Load() != 1 {
			t.Errorf("%d logins, %v", logins.Load(), err)
		}
	})
}

// TestLoginsThatHang has etcd never answer, for an hour in which it is wanted
// all the time.
func TestLoginsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		l, logins, _ := asked(t, func(ctx context.Context, _ string) (string, error) {
			at = append(at, time.Now())
			<-ctx.Done()
			return "", status.FromContextError(ctx.Err()).Err()
		})
		defer l.close()
		for began := time.Now(); time.Since(began) < time.Hour; time.Sleep(200 * time.Millisecond) {
			if _, err := ask(t, l, time.Time{}); err == nil {
				t.Fatal("logged in")
			}
		}
		l.close()
		if n := logins.Load(); n < 30 || n > 45 { // a minute each, and up to one between
			t.Errorf("%d logins in an hour", n)
		}
		for n := 1; n < len(at); n++ {
			if d := at[n].Sub(at[n-1]); d < loginTimeout+minLoginDelay/2 || d > loginTimeout+maxLoginDelay+time.Second {
				t.Errorf("login %d came %v after the one before", n, d)
			}
		}
	})
}

// TestLoginsThatFail has failures that cost etcd something be repeated later
// and later, and others at once, as is a new password.
func TestLoginsThatFail(t *testing.T) {
	for _, tt := range []struct {
		err         error
		least, most int32 // logins in a minute
	}{
		{rpctypes.ErrGRPCAuthFailed, 4, 10},
		{rpctypes.ErrGRPCTimeout, 4, 10},
		{status.Error(codes.DeadlineExceeded, "slow"), 4, 10},
		{status.Error(codes.Unavailable, `connection error: desc = "transport: x"`), 100, 1000},
		{rpctypes.ErrGRPCNoLeader, 100, 1000},
	} {
		synctest.Test(t, func(t *testing.T) {
			l, logins, file := asked(t, func(_ context.Context, password string) (string, error) {
				if password == "new" {
					return "token", nil
				}
				return "", tt.err
			})
			defer l.close()
			for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(200 * time.Millisecond) {
				if _, err := ask(t, l, time.Time{}); !errors.Is(err, tt.err) {
					t.Fatalf("it says %v, want %v", err, tt.err)
				}
			}
			if n := logins.Load(); n < tt.least || n > tt.most {
				t.Errorf("%v: %d logins in a minute, want %d to %d", tt.err, n, tt.least, tt.most)
			}
			if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := ask(t, l, time.Time{}); err != nil {
				t.Errorf("with another password: %v", err)
			}
		})
	}
}
