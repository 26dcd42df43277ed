package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/go-easyops/easyops/runtime/registry"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd"
	"github.com/go-easyops/easyops/runtime/registry/local" // also where nothing else is named
)

const (
	registryVariable = "EASYOPS_REGISTRY"
	defaultRegistry  = "local"

	// secondThought is how long a registry that gives an error may take to give
	// an answer after all.
	secondThought = time.Second
	// atOnce is how many services or instances are asked at the same time.
	atOnce = 16
)

// lookup finds instances in a registry.
type lookup struct {
	url     string
	timeout lifetime
	reg     registry.Registry // of open
	warned  *warnings
}

func (l *lookup) flags(f *pflag.FlagSet) {
	l.timeout = lifetime(10 * time.Second)
	f.StringVar(&l.url, "registry", "", "`URL` of the registry, as of services; without it $"+registryVariable+", else "+defaultRegistry)
	f.Var(&l.timeout, "timeout", "how long to wait for answers")
}

// open opens the registry; close it.
func (l *lookup) open(warn io.Writer) (err error) {
	l.warned = &warnings{w: warn, holds: true}
	url := cmp.Or(l.url, os.Getenv(registryVariable), defaultRegistry)
	if l.reg, err = registry.Open(url, slog.New(l.warned)); err != nil {
		return exitError{2, fmt.Errorf("--registry or %s: %w", registryVariable, err)}
	}
	if l.reg == nil {
		l.reg = nowhere{}
	}
	return nil
}

// nowhere is where nothing is looked up: addresses are all that can be named.
type nowhere struct{ registry.Registry }

func (nowhere) String() string { return "registry none" }
func (nowhere) Close() error   { return nil }

// isNone tells whether there is no registry.
func (l *lookup) isNone() bool {
	_, none := l.reg.(nowhere)
	return none
}

// somewhere is the error where there is no registry to ask.
func (l *lookup) somewhere() error {
	if !l.isNone() {
		return nil
	}
	return usagef("the registry is none, so nothing can be found: name one by --registry or %s, or a server by its address, host:port", registryVariable)
}

// shared tells whether others write to the registry, such as from other machines.
// Of this machine's one it is known which user has listed what.
func (l *lookup) shared() bool {
	_, own := l.reg.(*local.Registry)
	return !own
}

// registryFlag is --registry as another command needs it, "" where it finds the
// same registry without. URLs have no passwords, but characters of shells.
func (l *lookup) registryFlag() string {
	if l.url == "" || l.url == cmp.Or(os.Getenv(registryVariable), defaultRegistry) {
		return ""
	}
	return "--registry " + quoted(l.url) + " "
}

// quoted is a word for shells.
func quoted(word string) string {
	harmless := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.,:/@%+=", r)
	}
	if strings.IndexFunc(word, func(r rune) bool { return !harmless(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// close closes the registry, and prints what it has warned of, unless the command
// ends with an error that says so.
func (l *lookup) close(err *error) {
	_ = l.reg.Close() // nothing was written
	if e, ok := errors.AsType[exitError](*err); !ok || e.code != 2 {
		l.warned.release()
	}
}

// cannotAsk is the error of a registry that does not answer. Nothing is known
// then, so it has the exit code of a question without an answer.
func (l *lookup) cannotAsk(err error) error {
	text := strings.TrimPrefix(err.Error(), l.reg.String()+": ")
	return exitError{2, fmt.Errorf("%s cannot be asked: %s", l.reg, printable(text))}
}

// until watches a service until its list is as wanted. It returns false where
// that does not happen in time, and an error where the registry does not answer.
func (l *lookup) until(ctx context.Context, service string, wanted func([]registry.Instance) bool) (ok bool, err error) {
	if err := l.somewhere(); err != nil {
		return false, err
	}
	watch, cancel := context.WithTimeout(ctx, time.Duration(l.timeout))
	defer cancel()
	hurry := time.AfterFunc(time.Duration(l.timeout), cancel)
	defer hurry.Stop()
	err = errors.New("no answer in time")
	l.reg.Watch(watch, service, func(list []registry.Instance, cause error) {
		switch {
		case ok: // it was on its way when the watch ended
		case cause == nil:
			hurry.Stop()
			err, ok = nil, wanted(list)
		default:
			hurry.Reset(secondThought)
			err = cause
		}
		if ok {
			cancel()
		}
	})
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err != nil {
		return false, l.cannotAsk(err)
	}
	return ok, nil
}

// instances returns the instances of a service, in the order of their IDs.
func (l *lookup) instances(ctx context.Context, service string) (all []registry.Instance, err error) {
	_, err = l.until(ctx, service, func(list []registry.Instance) bool {
		all = slices.Clone(list)
		return true
	})
	slices.SortFunc(all, func(a, b registry.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return all, err
}

// services returns the names of all services.
func (l *lookup) services(ctx context.Context) ([]string, error) {
	if err := l.somewhere(); err != nil {
		return nil, err
	}
	lister, ok := l.reg.(registry.Lister)
	if !ok {
		return nil, exitError{2, fmt.Errorf("%s cannot say which services there are: name one", l.reg)}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(l.timeout))
	defer cancel()
	names, err := lister.Services(ctx)
	if err != nil {
		return nil, l.cannotAsk(err)
	}
	return names, nil
}

// all returns the instances of all services, in the order of service and ID.
func (l *lookup) all(ctx context.Context) ([]registry.Instance, error) {
	names, err := l.services(ctx)
	if err != nil {
		return nil, err
	}
	lists, errs := make([][]registry.Instance, len(names)), make([]error, len(names))
	each(len(names), func(n int) { lists[n], errs[n] = l.instances(ctx, names[n]) })
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	return slices.Concat(lists...), nil
}

// each calls do for 0 to n-1, a few at a time.
func each(n int, do func(int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do(i)
		})
	}
	wg.Wait()
}

// noInstance says that a service has none, and which one may have been meant.
func (l *lookup) noInstance(ctx context.Context, service string) error {
	return l.nothing(ctx, "instance of", service)
}

// nothing says that nothing is listed by a name.
func (l *lookup) nothing(ctx context.Context, what, service string) error {
	advice := "easyops ls lists what there is"
	switch names, err := l.services(ctx); {
	case err != nil:
	case len(names) == 0:
		advice = "nothing else is listed there either"
	default:
		if like := near(service, names); len(like) > 0 {
			advice = "did you mean " + strings.Join(like, " or ") + "?"
		}
	}
	return fmt.Errorf("no %s %s is listed in the %s: %s", what, printable(service), l.reg, advice)
}

// near returns the names that somebody who writes name may mean, the best first.
func near(name string, names []string) []string {
	const most = 3
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	wanted := strings.ToLower(name)
	for _, n := range names {
		is := strings.ToLower(n)
		d := distance(wanted, is)
		if part := wanted != "" && strings.Contains(is, wanted); part || d <= 1+len(wanted)/5 {
			found = append(found, candidate{printable(n), d})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var like []string
	for _, c := range found[:min(most, len(found))] {
		like = append(like, c.name)
	}
	return like
}

// distance is how many bytes must be inserted, removed or replaced to make one
// word of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
