package status

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes is how many scrapes may run at once.
const maxScrapes = 4

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

// scrapeLog tells faults of metrics from readers that hang up.
type scrapeLog struct{ logger *slog.Logger }

// Println implements [promhttp.Logger].
func (l scrapeLog) Println(v ...any) {
	level, text := slog.LevelError, strings.TrimSpace(fmt.Sprintln(v...))
	if strings.Contains(text, "sending metric") {
		level = slog.LevelDebug
	}
	l.logger.Log(context.Background(), level, "metrics", "err", text)
}

// HandleMetrics registers /internal/service-info/metrics and /metrics, which
// show what from gathers to whom Config.Metrics lets in.
func (p *Pages) HandleMetrics(from prometheus.Gatherer) error {
	h := promhttp.HandlerFor(from, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{p.cfg.Logger},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	})
	serve := func(w http.ResponseWriter, r *Request) error {
		h.ServeHTTP(w, r.Request)
		return nil
	}
	const help = "Metrics as Prometheus text and OpenMetrics."
	return p.handleAll([]Page{
		{
			Path: "/internal/service-info/metrics", Group: "This server", Title: "Metrics", Help: help,
			Access: Metrics, Raw: serve,
		},
		{
			Path: "/metrics", Group: "This server", Title: "Metrics for Prometheus", Access: Metrics, Raw: serve,
			Help: "The same under the path that Prometheus asks by default, for any Host.",
		},
	})
}
