package edge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	loadedDesc      = prometheus.NewDesc("easyops_edge_routes_loaded", "1 while the routes file as it is now is in force, 0 while it is not in order.", nil, nil)
	loadedAtDesc    = prometheus.NewDesc("easyops_edge_routes_loaded_timestamp_seconds", "When the routes that are in force were read.", nil, nil)
	strayDesc       = prometheus.NewDesc("easyops_edge_without_route_total", "HTTP requests and gRPC calls that no route is for.", []string{"kind"}, nil)
	tcpOpenDesc     = tcpDesc("connections", "Open connections of a TCP route.")
	tcpAcceptedDesc = tcpDesc("connections_accepted_total", "Connections that a TCP route has begun.")
	tcpFailedDesc   = tcpDesc("connections_failed_total", "Connections that were closed because no instance could be had, or all routes together had too many.")
	tcpReceivedDesc = tcpDesc("received_bytes_total", "Bytes that clients have sent, as far as they were passed on.")
	tcpSentDesc     = tcpDesc("sent_bytes_total", "Bytes that clients were sent.")
)

func tcpDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("easyops_edge_tcp_"+name, help, []string{"route", "service"}, nil)
}

// collector is the metrics of an edge that its server does not have.
type collector struct{ edge *Edge }

// Describe implements [prometheus.Collector].
func (collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{loadedDesc, loadedAtDesc, strayDesc, tcpOpenDesc, tcpAcceptedDesc, tcpFailedDesc, tcpReceivedDesc, tcpSentDesc} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	state := c.edge.State()
	loaded := 1.0
	if state.Err != nil {
		loaded = 0
	}
	gauge(loadedDesc, loaded)
	gauge(loadedAtDesc, float64(state.Since.UnixMilli())/1000)
	for kind, t := range map[string]*tally{"http": &c.edge.table.strays.http, "grpc": &c.edge.table.strays.grpc} {
		to <- prometheus.MustNewConstMetric(strayDesc, prometheus.CounterValue, float64(t.all.Load()), kind)
	}
	for r, n := range c.edge.ports.traffic() {
		count := func(d *prometheus.Desc, v uint64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), r.listen, r.service)
		}
		gauge(tcpOpenDesc, float64(n.open), r.listen, r.service)
		count(tcpAcceptedDesc, n.accepted)
		count(tcpFailedDesc, n.failed)
		count(tcpReceivedDesc, n.received)
		count(tcpSentDesc, n.sent)
	}
}

var (
	expiryDesc  = prometheus.NewDesc("easyops_certificate_expiry_timestamp_seconds", "When the first of the server's certificates expires, in seconds since 1970.", nil, nil)
	failingDesc = prometheus.NewDesc("easyops_identity_source_failing", "1 while what identity rests on cannot be read, or not be used: what was read last stays in force.", []string{"source"}, nil)
)

// certCollector is the metrics of the certificates of the routes file. They have the
// names of those that the server has for its own, so that the same alerts watch both;
// therefore it describes nothing, and its server has no certificate then.
type certCollector struct{ certs *certificates }

// Describe implements [prometheus.Collector].
func (certCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c certCollector) Collect(to chan<- prometheus.Metric) {
	var first time.Time
	for _, s := range c.certs.states() {
		if first.IsZero() || s.Expires.Before(first) {
			first = s.Expires
		}
		failing := 0.0
		if s.Err != nil {
			failing = 1
		}
		to <- prometheus.MustNewConstMetric(failingDesc, prometheus.GaugeValue, failing, s.Name+" "+s.Where)
	}
	if !first.IsZero() {
		to <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(first.Unix()))
	}
}
