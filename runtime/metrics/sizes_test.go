package metrics

import (
	"context"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

func TestSizes(t *testing.T) {
	s, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Method("echo.v1.EchoService/Echo")
	h, err := s.Sizes()
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []struct {
		method string
		err    error
	}{
		{"/echo.v1.EchoService/Echo", nil},
		{"/echo.v1.EchoService/Echo", status.Error(codes.NotFound, "no")},
		{"/invented/One", nil},
		{"/invented/Two", nil},
	} {
		ctx := h.TagRPC(context.Background(), &stats.RPCTagInfo{FullMethodName: call.method})
		h.HandleRPC(ctx, &stats.InPayload{CompressedLength: 100, WireLength: 105})
		h.HandleRPC(ctx, &stats.OutPayload{CompressedLength: 30})
		h.HandleRPC(ctx, &stats.OutPayload{CompressedLength: 12})
		h.HandleRPC(ctx, &stats.End{Error: call.err})
	}
	want := map[string]uint64{
		"echo.v1.EchoService/Echo OK": 1, "echo.v1.EchoService/Echo NOT_FOUND": 1, "other OK": 2,
	}
	for name, perCall := range map[string]float64{SentName: 42, ReceivedName: 100} {
		series := family(t, s, name)
		if len(series) != len(want) {
			t.Errorf("%s has %d series, want %d", name, len(series), len(want))
		}
		for _, m := range series {
			label := m.GetLabel()[0].GetValue() + " " + m.GetLabel()[1].GetValue()
			got := m.GetHistogram()
			if got.GetSampleCount() != want[label] || got.GetSampleSum() != perCall*float64(want[label]) {
				t.Errorf("%s of %s: %d calls of %v bytes", name, label, got.GetSampleCount(), got.GetSampleSum())
			}
		}
	}
	if _, err := s.Sizes(); err == nil {
		t.Error("a second handler would count everything twice")
	}
}

func family(t *testing.T, s *Set, name string) []*dto.Metric {
	t.Helper()
	families, err := s.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	return nil
}
