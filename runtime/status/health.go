package status

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// Ready is the one state in which a server takes calls; the others are
// STARTING, NOT_READY and STOPPING.
const Ready = "READY"

const stopping = "STOPPING"

// Health is what a server says about itself.
type Health struct {
	// State is STARTING, READY, NOT_READY or STOPPING.
	State string
	// TakenOut says that an operator has taken the server out of the
	// registry; it goes on serving.
	TakenOut bool
	// Checks are the readiness checks that ran, by name.
	Checks []Check
}

// Check is the outcome of one readiness check.
type Check struct {
	Name string
	// Err says why the check fails. Pages for everyone withhold it.
	Err error
}

// HandleHealth registers /internal/health and the probes /livez and /readyz.
// health may be called concurrently and must return soon, from a result that it
// keeps: everybody may ask, and each HTML page shows the state.
func (p *Pages) HandleHealth(health func(context.Context) Health) error {
	p.health.Store(&health)
	return p.handleAll([]Page{{
		Path: "/internal/health", Group: "Health", Title: "Health", Access: Everyone,
		Help: "STARTING, READY, NOT_READY or STOPPING, and each check; 200 when READY, 503 otherwise.",
		Get:  func(r *Request) (View, error) { return health(r.Context()).view(), nil },
	}, {
		Path: "/livez", Group: "Health", Title: "Liveness", Access: Everyone, Probe: true,
		Help: "Probe: 200 as long as the process serves; it never fails because of a check.",
		Raw:  func(w http.ResponseWriter, r *Request) error { return probe(w, r, "livez", true, nil) },
	}, {
		Path: "/readyz", Group: "Health", Title: "Readiness", Access: Everyone, Probe: true,
		Help: "Probe: 200 when the server takes calls, 503 otherwise; ?verbose names the checks.",
		Raw: func(w http.ResponseWriter, r *Request) error {
			h := health(r.Context())
			return probe(w, r, "readyz", h.State == Ready, h.Checks)
		},
	}})
}

func (h Health) status() int {
	if h.State == Ready {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

func (h Health) view() View {
	data := HealthData{State: h.State, TakenOut: h.TakenOut, Checks: []CheckData{}}
	plain := h.State
	kv := KV{{"State", stateCell(h.State)}}
	if h.TakenOut {
		plain += "\nregistry: " + takenOut
		kv = append(kv, Pair{"Registry", Cell{Text: takenOut, Tone: Warn}})
	}
	table := Table{Columns: []string{"Check", "Result"}, Wide: 2, Empty: "No checks are registered."}
	for _, c := range h.Checks {
		data.Checks = append(data.Checks, CheckData{Name: c.Name, OK: c.Err == nil})
		table.Rows = append(table.Rows, []Cell{Name(c.Name), c.cell()})
	}
	return View{
		Status: h.status(), Data: data, Plain: plain,
		Body: []Block{kv, Section{ID: "checks", Title: "Checks", Body: []Block{table}}},
	}
}

// forOperators says why checks fail, too.
func (h Health) forOperators() HealthData {
	d := HealthData{State: h.State, TakenOut: h.TakenOut, Checks: []CheckData{}}
	for _, c := range h.Checks {
		data := CheckData{Name: c.Name, OK: c.Err == nil}
		if c.Err != nil {
			data.Error = c.Err.Error()
		}
		d.Checks = append(d.Checks, data)
	}
	return d
}

// badges stand beside the server's name on each page.
func (h Health) badges() []Cell {
	all := []Cell{stateCell(h.State)}
	if h.TakenOut {
		all = append(all, Cell{Text: "OUT OF THE REGISTRY", Tone: Warn})
	}
	return all
}

func (c Check) cell() Cell {
	if c.Err != nil {
		return Cell{Text: "fails: the log says why", Tone: Bad}
	}
	return Cell{Text: "passes", Tone: Good}
}

func stateCell(state string) Cell {
	switch state {
	case Ready:
		return Cell{Text: state, Tone: Good}
	case "NOT_READY":
		return Cell{Text: state, Tone: Bad}
	}
	return Cell{Text: state, Tone: Warn}
}

// probe answers as Kubernetes' own components do. Reasons are withheld,
// because everybody may ask.
func probe(w http.ResponseWriter, r *Request, name string, ok bool, checks []Check) error {
	var b strings.Builder
	if r.URL.Query().Has("verbose") {
		for _, c := range checks {
			if c.Err != nil {
				fmt.Fprintf(&b, "[-]%s failed: reason withheld\n", visible(c.Name))
			} else {
				fmt.Fprintf(&b, "[+]%s ok\n", visible(c.Name))
			}
		}
		verdict := "passed"
		if !ok {
			verdict = "failed"
		}
		fmt.Fprintf(&b, "%s check %s\n", name, verdict)
	} else if ok {
		b.WriteString("ok\n")
	} else {
		fmt.Fprintf(&b, "%s check failed\n", name)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write([]byte(b.String())) // the client's loss
	return nil
}
