package export

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	// lookEvery is the time between looks at files, and for services that are new.
	lookEvery = time.Second
	// settling is how long changes are waited for that come together, such as of
	// all services of one server. A server says that it stops 2 s before it does.
	settling = 50 * time.Millisecond
	// memory is how long a service that fits a pattern is known after the registry
	// has listed it last: until then it is one that nobody serves now.
	memory = 10 * time.Minute
)

// Follower follows a routes file and what the registry lists for it.
type Follower struct {
	File     string
	Registry registry.Registry
	Logger   *slog.Logger
	// Update is called with what there is: at first when the registry has said
	// something about all services, then after changes and about once a second.
	// The calls come one after the other. The arguments must not be changed.
	Update func(context.Context, *routes.File, Instances)

	wg      sync.WaitGroup
	changed chan struct{}
	text    string // of the routes file, as it was parsed last
	looked  string // as it was at the last look
	routes  *routes.File
	fault   string               // of a routes file that is not used
	seen    map[string]time.Time // when services were listed last, where there are patterns

	mu       sync.Mutex
	services map[string]*service
	down     bool // the registry cannot be asked
}

// service is one that is followed.
type service struct {
	cancel context.CancelFunc
	listed []registry.Instance
	known  bool // the registry has said something
	chosen map[registry.Kind][]registry.Instance
}

// Run follows until the context ends. A routes file that is wrong when it begins is
// an error; one that is wrong later changes nothing, and is said once.
func (f *Follower) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.wg.Wait()
	defer cancel()
	f.services, f.seen, f.changed = map[string]*service{}, map[string]time.Time{}, make(chan struct{}, 1)
	if err := f.load(); err != nil {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		f.look(ctx)
		if have, ok := f.have(); ok {
			f.Update(ctx, f.routes, have)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.reload()
		case <-f.changed:
			pause(ctx, settling)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// load reads the routes file.
func (f *Follower) load() error {
	text, err := routes.Read(f.File)
	if err != nil {
		return err
	}
	f.text, f.looked = string(text), string(text)
	return f.use(text)
}

func (f *Follower) use(text []byte) error {
	file, err := routes.Parse(f.File, text)
	if err == nil {
		f.routes = file
	}
	return err
}

// reload reads the routes file where it has changed, and was the same at the look
// before: one that is being written may look like a short one.
func (f *Follower) reload() {
	text, err := routes.Read(f.File)
	if err == nil {
		before := f.looked
		f.looked = string(text)
		if f.looked == f.text || f.looked != before {
			return
		}
		f.text = f.looked
		err = f.use(text)
	}
	switch {
	case err == nil:
		f.fault = ""
	case err.Error() != f.fault:
		f.fault = err.Error()
		f.Logger.Warn("the routes file is not used, the one before stays", "err", err)
	}
}

// look follows the services that are needed now, and no others.
func (f *Follower) look(ctx context.Context) {
	needed := map[string]bool{}
	for _, key := range Keys(f.routes, f.listed(ctx)) {
		needed[key.Service] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.services {
		if !needed[name] {
			s.cancel()
			delete(f.services, name)
		}
	}
	for name := range needed {
		if f.services[name] == nil {
			life, cancel := context.WithCancel(ctx)
			s := &service{cancel: cancel, chosen: map[registry.Kind][]registry.Instance{}}
			f.services[name] = s
			f.wg.Go(func() {
				f.Registry.Watch(life, name, func(list []registry.Instance, err error) { f.learn(s, list, err) })
			})
		}
	}
}

// listed are the names of services that patterns may fit.
func (f *Follower) listed(ctx context.Context) []string {
	if !Patterns(f.routes) {
		return nil
	}
	names, err := f.ask(ctx)
	if err != nil {
		f.failed(ctx, err)
		names = slices.Collect(maps.Keys(f.seen))
	}
	now := time.Now()
	for _, name := range names {
		f.seen[name] = now
	}
	maps.DeleteFunc(f.seen, func(_ string, last time.Time) bool { return now.Sub(last) > memory })
	return slices.Collect(maps.Keys(f.seen))
}

// ask asks the registry which services there are.
func (f *Follower) ask(ctx context.Context) ([]string, error) {
	lister, ok := f.Registry.(registry.Lister)
	if !ok {
		return nil, errors.New("the registry cannot say which services there are: name them in the routes")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*lookEvery)
	defer cancel()
	return lister.Services(ctx)
}

// learn notes what the registry says of a service.
func (f *Follower) learn(s *service, list []registry.Instance, err error) {
	if err != nil {
		f.failed(context.Background(), err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		f.down = false
		f.Logger.Warn("the registry answers again")
	}
	s.listed, s.known = list, true
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// failed says once that the registry cannot be asked.
func (f *Follower) failed(ctx context.Context, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.down && ctx.Err() == nil {
		f.down = true
		f.Logger.Warn("the registry cannot be asked, the instances that are known stay", "err", err)
	}
}

// have chooses from what is listed. It is false until all is known.
func (f *Follower) have() (Instances, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := slices.Sorted(maps.Keys(f.services))
	all := Instances{}
	for _, key := range Keys(f.routes, names) {
		s := f.services[key.Service]
		if s == nil || !s.known {
			return nil, false
		}
		s.chosen[key.Kind] = Choose(s.listed, key.Kind, s.chosen[key.Kind])
		all[key] = s.chosen[key.Kind]
	}
	return all, true
}
