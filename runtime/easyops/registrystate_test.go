package easyops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

// listedAs is what the help page says of the server's entry.
func (r *rig) listedAs() *status.EntryData {
	r.t.Helper()
	_, body := r.request(http.MethodGet, "/internal/help?format=json", "user.alice")
	var d status.HelpData
	if err := json.Unmarshal([]byte(body), &d); err != nil || d.Registry == nil {
		r.t.Fatalf("%s: %v", body, err)
	}
	return d.Registry.ListedAs
}

// The help page and the log say as what the server is listed; the page says
// nothing once an operator has taken it out.
func TestListedAs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, opt := newLedger(t)
		r := operated(t, opt, WithOwner("ann of sales"), WithTags("zone", "a", "rack", "7"))
		synctest.Wait()
		e := r.listedAs()
		if e == nil || e.ID != r.id || e.Addr != "127.0.0.1:4100" || e.StatusAddr != "" || e.Owner != "ann of sales" ||
			!maps.Equal(e.Tags, map[string]string{"zone": "a", "rack": "7"}) {
			t.Errorf("%+v", e)
		}
		line := r.log.lines("serving")[0]
		wantEqual(t, "owner and tags in the log", line.text("owner")+" "+line.text("tags"), "ann of sales rack=7,zone=a")
		r.asAlice(unregister, http.StatusOK)
		if e := r.listedAs(); e != nil {
			t.Errorf("after it was taken out: %+v", e)
		}
		r.asAlice(undo, http.StatusOK)
		if e := r.listedAs(); e == nil || e.Addr != "127.0.0.1:4100" {
			t.Errorf("after it was put back: %+v", e)
		}
	})
}

// A server without owner and tags says nothing of these, one that no registry
// lists nothing of an entry.
func TestListedAsLittle(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, opt := newLedger(t)
		r := operated(t, opt)
		synctest.Wait()
		if e := r.listedAs(); e == nil || e.Owner != "" || len(e.Tags) > 0 {
			t.Errorf("%+v", e)
		}
		line := r.log.lines("serving")[0]
		wantEqual(t, "owner and tags in the log", line.text("owner")+line.text("tags"), "")
	})
	inBubble(t, func(t *testing.T) {
		if e := operated(t).listedAs(); e != nil {
			t.Errorf("without a registry: %+v", e)
		}
	})
}

// The address on the page is the one that the registry was told; that of all
// interfaces is none, and not shown before another is found.
func TestListedAddressIsThatOfTheRegistry(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l, opt := newLedger(t)
		l.hang.Store(true) // so that nothing is registered
		r := operated(t, opt)
		synctest.Wait()
		r.cfg.advertise = "[::]:4100" // as of a listener, before the route is known
		entry := func() *status.EntryData { return r.registryPage().ListedAs }
		if e := entry(); e.Addr != "" || e.ID != r.id {
			t.Errorf("before: %+v", e)
		}
		l.hang.Store(false)
		told := registry.Instance{ID: r.id, Addr: "10.0.0.8:4100", StatusAddr: "10.0.0.8:4101"}
		if _, err := r.registry.Register(t.Context(), []registry.Instance{told}); err != nil {
			t.Fatal(err)
		}
		if e := entry(); e.Addr != told.Addr || e.StatusAddr != told.StatusAddr {
			t.Errorf("after: %+v", e)
		}
	})
}

// What was not registered is not remembered.
func TestRememberingRegistry(t *testing.T) {
	l := &ledger{}
	r := &remembering{Registry: l}
	l.hang.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Register(ctx, []registry.Instance{{ID: "a"}}); !errors.Is(err, context.Canceled) || r.last.Load() != nil {
		t.Errorf("%v, %+v", err, r.last.Load())
	}
	l.hang.Store(false)
	for _, id := range []string{"a", "b"} {
		if _, err := r.Register(t.Context(), []registry.Instance{{ID: id}}); err != nil || r.last.Load().ID != id {
			t.Errorf("%s: %v, %+v", id, err, r.last.Load())
		}
	}
}

// Settings of personal instances that can have no effect are named at the start,
// those that can are not.
func TestWarningsOfPersonalInstances(t *testing.T) {
	const owner, personal = "(-easyops.owner, EASYOPS_OWNER, WithOwner)", "(-easyops.personal, EASYOPS_PERSONAL, WithPersonal)"
	const (
		ownerUnknown    = "an owner is named " + owner + ", but nothing says here whose a call is (-easyops.auth, EASYOPS_AUTH, WithAuth): calls without a user never come to a personal instance"
		ownerUnlisted   = "an owner is named " + owner + ", but no registry lists this server: nobody finds it as a personal instance"
		personalUnknown = "calls are to go to personal instances " + personal + ", but nothing says here whose a call is (-easyops.auth, EASYOPS_AUTH, WithAuth): those that carry on a call have no user, and go to none"
	)
	for name, test := range map[string]struct {
		opts   []ServerOption
		listed bool
		want   []string
	}{
		"nothing is set":          {nil, false, nil},
		"standalone owner":        {[]ServerOption{WithOwner("ann")}, true, []string{ownerUnknown}},
		"standalone personal":     {[]ServerOption{WithPersonal()}, true, []string{personalUnknown}},
		"unlisted owner":          {[]ServerOption{WithOwner("ann"), WithAuthenticator(byWord)}, false, []string{ownerUnlisted}},
		"owner outside":           {[]ServerOption{WithOwner("ann"), WithAuthenticator(byWord), WithoutRegistration()}, true, []string{ownerUnlisted}},
		"everyone, unlisted":      {[]ServerOption{WithOwner("ann"), WithPersonal(), WithAuth("insecure-none")}, false, []string{ownerUnknown, ownerUnlisted, personalUnknown}},
		"authenticated, listed":   {[]ServerOption{WithOwner("ann"), WithPersonal(), WithAuthenticator(byWord)}, true, nil},
		"authenticated, unlisted": {[]ServerOption{WithPersonal(), WithAuthenticator(byWord)}, false, nil},
	} {
		inBubble(t, func(t *testing.T) {
			opts := test.opts
			if test.listed {
				_, opt := newLedger(t)
				opts = append([]ServerOption{opt}, opts...)
			}
			r := newRig(t, ways[0], &funcs{}, opts...)
			synctest.Wait()
			var got []string
			for _, text := range []string{ownerUnknown, ownerUnlisted, personalUnknown} {
				for _, line := range r.log.lines(text) {
					wantEqual(t, "level", line.text("level"), "WARN")
					got = append(got, text)
				}
			}
			wantEqual(t, name, fmt.Sprintf("%q", got), fmt.Sprintf("%q", test.want))
		})
	}
}
