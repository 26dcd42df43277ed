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
// show what from gathers to whom Config.Metrics lets in, in the form that the
// scraper accepts; ?format=text is text in any case.
func (p *Pages) HandleMetrics(from prometheus.Gatherer) error {
	h := promhttp.HandlerFor(from, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{p.cfg.Logger},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	})
	serve := func(w http.ResponseWriter, r *Request) error {
		h.ServeHTTP(w, asked(r.Request))
		return nil
	}
	const help = "Metrics as Prometheus text, and where a scraper accepts it as OpenMetrics or protobuf, which has native histograms too."
	return p.handleAll([]Page{
		{
			Path: "/internal/service-info/metrics", Group: "This server", Title: "Metrics", Help: help,
			Access: Metrics, Raw: serve,
		},
		{
			Path: "/metrics", Group: "This server", Title: "Metrics for Prometheus", Access: Metrics, Raw: serve,
			Help: "The same under the path that Prometheus asks by default, for any Host except on loopback.",
		},
	})
}

// asked returns the request with what ?format=text asks for as what it accepts.
// Scrapers name no format, and the others are no forms of metrics.
func asked(r *http.Request) *http.Request {
	if form(r.URL.Query().Get("format")) != formText {
		return r
	}
	r = r.Clone(r.Context())
	r.Header.Set("Accept", "text/plain")
	return r
}
