package status

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
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
	d := &RegistryData{Registry: r.Where, State: r.State, TakenOut: r.TakenOut, LastAnswer: timeOrNil(r.LastAnswer), Unlisted: r.Unlisted}
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
	if r.Err != nil {
		kv = append(kv, Pair{"Fault", Cell{Text: r.Err.Error(), Tone: Bad}})
	}
	return kv
}

// ago is a time that has passed, and how long ago that was.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	age := max(now.Sub(t), 0)
	return fmt.Sprintf("%v ago (%s)", age.Truncate(time.Second), t.UTC().Format(time.RFC3339))
}

// The two things that /internal/unregister does.
var (
	takeOut = Action{
		Path: "/internal/unregister", Label: "Take out of the registry",
		Help: "Clients that find this server through the registry stop calling it. It goes on serving, and is listed again when this is undone or the process is started again.",
	}
	putBack = Action{
		Path: "/internal/unregister?undo", Label: "Put back into the registry",
		Help: "The registry lists this server again.",
	}
)

// HandleUnregister registers /internal/unregister. set takes the server out of
// the registry, or puts it back, and returns what held before and what holds
// now; it may wait for the registry, for no longer than the context lasts. An
// error means that nothing was changed. It may be called concurrently, and what
// holds already is no error.
func (p *Pages) HandleUnregister(set func(ctx context.Context, out bool) (before, now Registry, err error)) error {
	return p.Handle(Page{
		Path: takeOut.Path, Group: "Actions", Title: "Unregister", Access: Operator, Actions: []Action{takeOut, putBack},
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
