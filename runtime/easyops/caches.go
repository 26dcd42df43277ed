package easyops

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/cache/caches"
)

// newCaches lists the caches of the process and the server's own.
func (s *Server) newCaches() *caches.Group {
	group := caches.NewGroup(s.log)
	for _, c := range auth.TokenCaches(s.authenticators) {
		group.Add("tokens", c)
	}
	return group
}

// cacheMetrics collects the figures of caches. Their names are few, as a
// program has them and not its callers.
type cacheMetrics struct{ group *caches.Group }

var (
	cacheEntries   = cacheDesc("easyops_cache_entries", "Entries in the cache.")
	cacheHits      = cacheDesc("easyops_cache_hits_total", "Values that were asked for and found in the cache.")
	cacheMisses    = cacheDesc("easyops_cache_misses_total", "Values that were asked for and not found in the cache.")
	cacheEvictions = cacheDesc("easyops_cache_evictions_total", "Entries that left the cache for lack of room or because their time was up.")
)

func cacheDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"cache"}, nil)
}

// Describe implements [prometheus.Collector].
func (m cacheMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{cacheEntries, cacheHits, cacheMisses, cacheEvictions} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (m cacheMetrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.group.List() {
		if !c.Counted {
			continue
		}
		to <- prometheus.MustNewConstMetric(cacheEntries, prometheus.GaugeValue, float64(c.Entries), c.Name)
		to <- prometheus.MustNewConstMetric(cacheHits, prometheus.CounterValue, float64(c.Hits), c.Name)
		to <- prometheus.MustNewConstMetric(cacheMisses, prometheus.CounterValue, float64(c.Misses), c.Name)
		to <- prometheus.MustNewConstMetric(cacheEvictions, prometheus.CounterValue, float64(c.Evictions), c.Name)
	}
}
