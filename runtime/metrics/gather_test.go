package metrics

import (
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// durations are the series of the call durations.
func durations(t *testing.T, s *Set) []*dto.Metric {
	t.Helper()
	families, err := s.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == DurationName {
			return f.GetMetric()
		}
	}
	return nil
}
