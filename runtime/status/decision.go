package status

import "net/http"

// decision is what the operator's check said of a request. It is asked once,
// because it may be costly, and what it refuses is in the log. A request is
// served by one goroutine.
type decision struct {
	made bool
	who  string
	err  error
}

type decisionKey struct{}

// decisionOf is what is known of a request, to be kept with it.
func decisionOf(r *http.Request) *decision {
	if d, ok := r.Context().Value(decisionKey{}).(*decision); ok {
		return d
	}
	return &decision{}
}

func (d *decision) keep(who string, err error) { d.made, d.who, d.err = true, who, err }

// once asks for each request that [Pages] serves at most once.
func once(decide Authorizer) Authorizer {
	return func(r *http.Request) (string, error) {
		d := decisionOf(r)
		if !d.made {
			d.keep(decide(r))
		}
		return d.who, d.err
	}
}
