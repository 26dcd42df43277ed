package status

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Registry is what a registry has of the server.
type Registry struct {
	// Where names the registry.
	Where string
	// State is unregistered, registered or lost.
	State string
	// TakenOut says that an operator has taken the server out of the
	// registry. Until the registry knows, State says otherwise.
	TakenOut bool
	// LastAnswer is when the registry last answered anything; zero is never.
	LastAnswer time.Time
	// ListedAs is what the registry lists of the server, or is to list once
	// State is registered; nil is nothing.
	ListedAs *EntryData
	// Err says why State is not what it should be. Nil where all is well.
	Err error
	// Unlisted says why no registry is to list the server; what is above it
	// is empty then. It is empty itself where one is.
	Unlisted string
}

// takenOut is what people read of a server that an operator has taken out.
const takenOut = "taken out by an operator"

// String is the state in a few words.
func (r Registry) String() string {
	switch {
	case r.Unlisted != "":
		return "not listed"
	case r.TakenOut && r.State == "unregistered":
		return takenOut
	case r.TakenOut:
		return r.State + ", being " + takenOut
	}
	return r.State
}

func (r Registry) data() *RegistryData {
	d := &RegistryData{Registry: r.Where, State: r.State, TakenOut: r.TakenOut, LastAnswer: timeOrNil(r.LastAnswer), ListedAs: r.ListedAs, Unlisted: r.Unlisted}
	if r.Err != nil {
		d.Error = r.Err.Error()
	}
	return d
}

func (r Registry) section() Section {
	return Section{ID: "registry", Title: "Registry", Body: []Block{r.pairs(time.Now())}}
}

func (r Registry) pairs(now time.Time) KV {
	if r.Unlisted != "" {
		return KV{{"State", Cell{Text: r.String(), Tone: Neutral}}, {"Why", Str(r.Unlisted)}}
	}
	state := Cell{Text: r.String(), Tone: Warn}
	if r.State == "registered" && !r.TakenOut {
		state.Tone = Good
	}
	kv := KV{{"State", state}, {"Registry", Name(r.Where)}, {"Last answer", Str(ago(r.LastAnswer, now))}}
	if r.ListedAs != nil {
		kv = append(kv, r.ListedAs.pairs(r.State == "registered")...)
	}
	if r.Err != nil {
		kv = append(kv, Pair{"Fault", Cell{Text: r.Err.Error(), Tone: Bad}})
	}
	return kv
}

// pairs are the entry, which is listed, or is to be.
func (e EntryData) pairs(listed bool) KV {
	what := "To be listed as"
	if listed {
		what = "Listed as"
	}
	kv := KV{{what, Name(cmp.Or(e.Addr, "an address that is not known yet"))}, {"Instance", Name(e.ID)}}
	for _, p := range (KV{{"Status pages", Name(e.StatusAddr)}, {"Owner", Name(e.Owner)}, {"Tags", Name(tagText(e.Tags))}}) {
		if p.Value.Text != "" {
			kv = append(kv, p)
		}
	}
	return kv
}

// tagText is tags as the setting has them.
func tagText(tags map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, k+"="+tags[k])
	}
	return strings.Join(all, ",")
}

// The two things that /internal/unregister does.
var (
	takeOut = Action{
		Path: "/internal/unregister", Label: "Take out of the registry",
		Help: "Clients that find this server through the registry stop calling it. It goes on serving, and is listed again when this is undone or the process is started again.",
	}
	putBack = Action{
		Path: "/internal/unregister?undo", Label: "Put back into the registry",
		Help: "Has the registry list this server again, so that clients find it.", Mild: true,
	}
)

// HandleUnregister registers /internal/unregister. set takes the server out of
// the registry, or puts it back, and returns what held before and what holds
// now; it may wait for the registry, for no longer than the context lasts. An
// error means that nothing was changed. It may be called concurrently, and what
// holds already is no error.
func (p *Pages) HandleUnregister(set func(ctx context.Context, out bool) (before, now Registry, err error)) error {
	return p.Handle(Page{
		Path: takeOut.Path, Group: "Actions", Title: "Unregister", Access: Operator, Actions: []Action{takeOut, putBack}, Offer: p.offerRegistry, Query: []string{"undo"},
		Help: "Takes the server out of the registry, with ?undo puts it back; it goes on serving.",
		Post: func(r *Request) (View, error) {
			out, err := takesOut(r.Request)
			if err != nil {
				return View{}, err
			}
			before, now, err := set(r.Context(), out)
			if err != nil {
				return View{}, err
			}
			r.Changed("registry", before.String(), now.String())
			return unregisterView(out, now), nil
		},
	})
}

// offerRegistry is what the registry has of the server, and what can be done
// about that.
func (p *Pages) offerRegistry(r *http.Request) ([]Block, []Action) {
	if p.cfg.Registry == nil {
		return nil, []Action{takeOut, putBack}
	}
	now := p.cfg.Registry()
	shown := []Block{now.pairs(time.Now())}
	switch {
	case now.Unlisted != "":
		return append(shown, Text("There is nothing to change.")), nil
	case p.state(r) == stopping:
		return append(shown, Text("The server is stopping, and leaves the registry by itself.")), nil
	case now.TakenOut:
		return shown, []Action{putBack}
	}
	return shown, []Action{takeOut}
}

// takesOut reads the query. A value other than yes is refused, so that nobody
// believes that undo=false does nothing.
func takesOut(r *http.Request) (bool, error) {
	query := r.URL.Query()
	if !query.Has("undo") {
		return true, nil
	}
	switch query.Get("undo") {
	case "", "1", "true":
		return false, nil
	}
	return false, Errorf(http.StatusBadRequest, "undo=%s is not understood: write ?undo, or leave it out", visible(query.Get("undo")))
}

// unregisterView answers 200 where the registry has what was asked for, and 202
// where it will.
func unregisterView(out bool, now Registry) View {
	v := View{Data: now.data(), Title: "Back in the registry", Plain: "the registry lists this server"}
	back, other := "registered", takeOut
	if out {
		v.Title, v.Plain = "Out of the registry", "the registry does not list this server any more; it goes on serving"
		back, other = "unregistered", putBack
	}
	if now.State != back {
		v.Status = http.StatusAccepted
		v.Plain = fmt.Sprintf("noted, and the registry will be told: it has the server as %s until then", cmp.Or(now.State, "unregistered"))
	}
	v.Body = []Block{Text(sentence(v.Plain)), now.pairs(time.Now()), other}
	return v
}
