package status

import "net/http"

// HandleShutdown registers /internal/pleaseshutdown. shutdown begins the
// orderly shutdown and returns at once, so that the answer is still sent; it
// may be called several times.
func (p *Pages) HandleShutdown(shutdown func(who string)) error {
	return p.Handle(Page{
		Path: "/internal/pleaseshutdown", Group: "Actions", Title: "Shut down", Access: Operator,
		Help: "Stops the server in an orderly way: calls in flight are finished.",
		Post: func(r *Request) (View, error) {
			shutdown(r.Who)
			r.Changed("state", "", "STOPPING")
			text := "the server stops: calls in flight are finished, then the process ends"
			return View{
				Status: http.StatusAccepted, Title: "Shutting down", Data: StateData{"STOPPING"},
				Body: []Block{Text(text)}, Plain: text,
			}, nil
		},
	})
}
