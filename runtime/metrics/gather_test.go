package metrics

import (
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// durations are the series of the call durations.
func durations(t *testing.T, s *Set) []*dto.Metric {
	t.Helper()
	return family(t, s, DurationName)
}
