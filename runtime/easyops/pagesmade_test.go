package easyops

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-easyops/easyops/runtime/status"
)

// What makes the pages, long after the start, has no fault that only a log would
// tell.
func TestPagesCanBeMade(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithInfo("text", func() string { return "" }), WithHeapDump())
		first, err := r.makePages(r.parameters(), r.newCaches())
		if err != nil {
			t.Error(err)
		}
		if err := first.HandleTexts(func() []status.NamedText { return nil }); err == nil {
			t.Error("control: a page that is there already was added")
		}
		if once, again := r.pages(), r.pages(); once != again {
			t.Error("the pages are made for each request")
		}
	})
}

// Where the pages cannot be made, the probes are served all the same, and each time.
func TestWithoutPages(t *testing.T) {
	for name, fails := range map[string]func() (*status.Pages, error){
		"error": func() (*status.Pages, error) { return nil, errors.New("cannot be made") },
		"panic": func() (*status.Pages, error) { panic("cannot be made") },
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, &funcs{})
				r.pages = sync.OnceValue(func() *status.Pages { return r.pagesOr(fails) })
				synctest.Wait()
				for range 2 {
					for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/internal/health": 500, "/": 500} {
						if code, body := r.get(path); code != want || code == 500 && !strings.Contains(body, "log says why") {
							t.Errorf("%s: %d %q, want %d", path, code, body, want)
						}
					}
				}
				r.log.one(t, "status pages")
			})
		})
	}
}
