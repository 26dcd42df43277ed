package easyops

import (
	"testing"

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
