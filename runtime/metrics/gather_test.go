package metrics

import (
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// durationSeries are the series of the call durations.
func durationSeries(t *testing.T, s *Set) []*dto.Metric {
	t.Helper()
	return family(t, s, DurationName)
}
