package export

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a registry that says what it is told to.
type script struct {
	registry.Registry

	mu      sync.Mutex
	names   []string
	err     error // of Services
	updates map[string]func([]registry.Instance, error)
	ended   []string
}

func (s *script) Services(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names, s.err
}

func (s *script) Watch(ctx context.Context, service string, update func([]registry.Instance, error)) {
	s.mu.Lock()
	s.updates[service] = update
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.updates, service)
	s.ended = append(s.ended, service)
}

// say has the registry say something about a service that is watched.
func (s *script) say(service string, list []registry.Instance, err error) {
	s.mu.Lock()
	update := s.updates[service]
	s.mu.Unlock()
	update(list, err)
}

func (s *script) watched(service string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.updates[service] != nil
}

// followed is a Follower that runs.
type followed struct {
	*script
	t    *testing.T
	file string
	log  bytes.Buffer

	mu      sync.Mutex
	updates int
	last    Instances
}

func (f *followed) update(_ context.Context, _ *routes.File, have Instances) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.updates++
	f.last = have
}

func (f *followed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.updates
}

const siteRoutes = "listen: \":8080\"\nhttp: [{path: /, service: site, allow: EVERYONE}]\n"

// follow runs a test with a Follower of a file with these routes.
func follow(t *testing.T, text string, test func(*followed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &followed{script: &script{updates: map[string]func([]registry.Instance, error){}}, t: t, file: t.TempDir() + "/edge.yaml"}
		write(t, f.file, text)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		follower := &Follower{
			File: f.file, Registry: f.script, Logger: slog.New(slog.NewTextHandler(&f.log, nil)),
			Update: f.update,
		}
		go func() { ended <- follower.Run(ctx) }()
		synctest.Wait()
		test(f)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// after lets time pass and wants the instances of a service of a kind.
func (f *followed) after(d time.Duration, service string, kind registry.Kind, want string) {
	f.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := ids(f.last[Key{service, kind}]); got != want {
		f.t.Errorf("%s: %q, want %q", service, got, want)
	}
}

func site(ids ...string) (list []registry.Instance) {
	for _, id := range ids {
		list = append(list, instance(id, "site", "10.0.0.1:"+id, registry.KindHTTP))
	}
	return list
}

func stopping(list []registry.Instance, n int) []registry.Instance {
	list[n].Health = registry.Stopping
	return list
}

// What the registry lists is there at once, and who stops is gone at once.
func TestFollow(t *testing.T) {
	follow(t, siteRoutes, func(f *followed) {
		time.Sleep(time.Minute)
		if f.count() > 0 {
			t.Error("there was an update before the registry said anything")
		}
		f.say("site", site("1", "2"), nil)
		f.after(2*settling, "site", registry.KindHTTP, "1 2")
		f.say("site", stopping(site("1", "2", "3"), 0), nil)
		f.after(2*settling, "site", registry.KindHTTP, "2 3")
		f.say("site", nil, errors.New("down"))
		f.say("site", nil, errors.New("down"))
		f.after(time.Hour, "site", registry.KindHTTP, "2 3")
		f.say("site", nil, nil)
		f.after(time.Hour, "site", registry.KindHTTP, "2 3") // the last that are known
		f.say("site", site("4"), nil)
		f.after(2*settling, "site", registry.KindHTTP, "4")
		if n := strings.Count(f.log.String(), "cannot be asked"); n != 1 || !strings.Contains(f.log.String(), "answers again") {
			t.Errorf("the log says it %d times:\n%s", n, f.log.String())
		}
	})
}

// Changes that come together are one update.
func TestFollowSettles(t *testing.T) {
	follow(t, siteRoutes, func(f *followed) {
		time.Sleep(lookEvery / 2)
		before := f.count()
		for range 10 {
			f.say("site", site("1"), nil)
		}
		time.Sleep(2 * settling)
		synctest.Wait()
		if n := f.count() - before; n < 1 || n > 2 {
			t.Errorf("%d updates", n)
		}
	})
}

// The routes file is read again when it changes, and left as it was where it is
// wrong.
func TestFollowFile(t *testing.T) {
	follow(t, siteRoutes, func(f *followed) {
		f.say("site", site("1"), nil)
		f.after(2*settling, "site", registry.KindHTTP, "1")
		write(t, f.file, "http: [{path: 7}]\n")
		f.after(10*lookEvery, "site", registry.KindHTTP, "1")
		if n := strings.Count(f.log.String(), "not used"); n != 1 {
			t.Errorf("the log says it %d times:\n%s", n, f.log.String())
		}
		write(t, f.file, strings.Replace(siteRoutes, "site", "page", 1))
		time.Sleep(3 * lookEvery)
		synctest.Wait()
		if !f.watched("page") || f.watched("site") {
			t.Error("the new file is not followed")
		}
		f.after(0, "site", registry.KindHTTP, "1") // until page is known
		f.say("page", site("2"), nil)
		f.after(2*settling, "page", registry.KindHTTP, "2")
	})
}

// Patterns lead to services as they come, also while the registry cannot say
// which there are.
func TestFollowPatterns(t *testing.T) {
	follow(t, "listen: \":8080\"\ngrpc: [{service: \"*\", allow: EVERYONE}]\n", func(f *followed) {
		f.script.mu.Lock()
		f.names = []string{"a.A"}
		f.script.mu.Unlock()
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		f.say("a.A", []registry.Instance{instance("1", "a.A", "10.0.0.1:1", registry.KindGRPC)}, nil)
		f.after(2*settling, "a.A", registry.KindGRPC, "1")
		f.script.mu.Lock()
		f.names, f.err = nil, errors.New("down")
		f.script.mu.Unlock()
		f.after(time.Hour, "a.A", registry.KindGRPC, "1")
		f.script.mu.Lock()
		f.err = nil
		f.script.mu.Unlock()
		f.after(memory/2, "a.A", registry.KindGRPC, "1") // it may come back
		f.after(memory, "a.A", registry.KindGRPC, "")
	})
}

// A routes file that is wrong at first is an error.
func TestFollowWrongFile(t *testing.T) {
	file := t.TempDir() + "/edge.yaml"
	write(t, file, "http: 7\n")
	if err := (&Follower{File: file}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
	if err := (&Follower{File: file + "x"}).Run(t.Context()); err == nil {
		t.Error("no error for a file that is not there")
	}
}
