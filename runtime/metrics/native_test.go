package metrics

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// samples are durations of all kinds, none on the bound of a bucket.
var samples = []time.Duration{
	1, 700, us(1), us(3), us(3) + 7, ms(1) + 1, ms(1) + 1, ms(2), ms(17), ms(900), sec(1), sec(3), sec(60), sec(127),
	sec(129), 17 * time.Minute, time.Hour, 23 * time.Hour, 70 * time.Hour,
}

// reference is client_golang's own histogram with the same buckets.
func reference(t *testing.T, of []time.Duration) *dto.Histogram {
	t.Helper()
	var bounds []float64
	for _, d := range durationBounds {
		bounds = append(bounds, d.Seconds())
	}
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "x", Help: "x", Buckets: bounds,
		NativeHistogramBucketFactor: 1.2, NativeHistogramZeroThreshold: zeroThreshold,
	})
	for _, d := range of {
		h.Observe(d.Seconds())
	}
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetHistogram()
}

func ours(t *testing.T, of []time.Duration) *dto.Histogram {
	t.Helper()
	s := newSet(t, nil)
	m := s.Method("a.B/C")
	for i, d := range of {
		m.Done(i%s.Parts(), codes.OK, d)
	}
	for _, series := range durationSeries(t, s) {
		if series.GetLabel()[0].GetValue() == "a.B/C" {
			return series.GetHistogram()
		}
	}
	t.Fatal("no series")
	return nil
}

// exponential are the counts of the native buckets by index, spelled out.
func exponential(h *dto.Histogram) map[int]int64 {
	all := map[int]int64{}
	index, n, delta := 0, int64(0), h.GetPositiveDelta()
	for _, span := range h.GetPositiveSpan() {
		index += int(span.GetOffset())
		for range span.GetLength() {
			n += delta[0]
			delta = delta[1:]
			if n != 0 { // client_golang bridges small gaps with empty ones
				all[index] = n
			}
			index++
		}
	}
	return all
}

func TestNativeHistogram(t *testing.T) {
	for _, of := range [][]time.Duration{nil, samples[:1], samples[5:6], samples} {
		t.Run(fmt.Sprint(len(of)), func(t *testing.T) {
			got, want := ours(t, of), reference(t, of)
			if got.GetSchema() != want.GetSchema() || got.GetZeroThreshold() != want.GetZeroThreshold() || got.GetZeroCount() != want.GetZeroCount() {
				t.Errorf("schema %d, zero %v %d, want %d, %v %d", got.GetSchema(), got.GetZeroThreshold(), got.GetZeroCount(),
					want.GetSchema(), want.GetZeroThreshold(), want.GetZeroCount())
			}
			if g, w := fmt.Sprint(exponential(got)), fmt.Sprint(exponential(want)); g != w {
				t.Errorf("exponential buckets %s, want %s", g, w)
			}
			if got.GetSampleCount() != want.GetSampleCount() || math.Abs(got.GetSampleSum()-want.GetSampleSum()) > 1e-6 {
				t.Errorf("%d samples of %v s, want %d of %v s", got.GetSampleCount(), got.GetSampleSum(), want.GetSampleCount(), want.GetSampleSum())
			}
			for i, b := range want.GetBucket() {
				if g := got.GetBucket()[i]; g.GetCumulativeCount() != b.GetCumulativeCount() || g.GetUpperBound() != b.GetUpperBound() {
					t.Errorf("bucket %v, want %v", g, b)
				}
			}
		})
	}
}

// A bucket of its own takes what is longer than the last power, so that the
// buckets add up to the count.
func TestNativeHistogramOfLongCalls(t *testing.T) {
	last := powerOf(lastPower)
	h := ours(t, []time.Duration{last, last + 1, 1000 * time.Hour, math.MaxInt64})
	if got := fmt.Sprint(exponential(h)); got != fmt.Sprint(map[int]int64{lastPower: 1, lastPower + 1: 3}) {
		t.Errorf("exponential buckets %s", got)
	}
}

// Scrapers learn since when a series has been counted, as of client_golang's own.
func TestCreatedTimestamp(t *testing.T) {
	before := time.Now()
	s := newSet(t, nil)
	s.Method("a.B/C").Started(0)
	after := time.Now()
	s.Method("a.B/C").Done(0, codes.NotFound, ms(1))
	families, err := s.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			at := m.GetHistogram().GetCreatedTimestamp()
			switch f.GetName() {
			case DurationName:
			case StartedName:
				at = m.GetCounter().GetCreatedTimestamp()
			default:
				continue
			}
			seen++
			if at == nil || at.AsTime().Before(before.Add(-time.Millisecond)) || at.AsTime().After(after) {
				t.Errorf("%v: created %v", m, at)
			}
		}
	}
	if seen != 5 {
		t.Errorf("%d series", seen)
	}
}

// Scrapers of text see what they would see without: the classic buckets alone.
func TestTextIsClassic(t *testing.T) {
	m := newMethod("a.B/C", 1)
	m.Done(0, codes.OK, ms(7))
	d, _ := m.durations(0)
	d.since = timestamppb.Now()
	with, without := prometheus.NewRegistry(), prometheus.NewRegistry()
	with.MustRegister(one{d})
	without.MustRegister(one{classicOnly(d)})
	for _, accept := range []string{"text/plain", "application/openmetrics-text; version=1.0.0"} {
		if got, want := scrape(t, with, accept), scrape(t, without, accept); !bytes.Equal(got, want) || len(got) < 1000 {
			t.Errorf("%s: got\n%s\nwant\n%s", accept, got, want)
		}
	}
	const protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
	if bytes.Equal(scrape(t, with, protobuf), scrape(t, without, protobuf)) {
		t.Error("protobuf is classic too")
	}
}

// one is a collector of one metric.
type one struct{ metric prometheus.Metric }

func (o one) Describe(to chan<- *prometheus.Desc) { to <- durationDesc }
func (o one) Collect(to chan<- prometheus.Metric) { to <- o.metric }

// classicOnly are the durations as client_golang itself writes them.
func classicOnly(d *durations) prometheus.Metric {
	h, all := &dto.Histogram{}, map[float64]uint64{}
	d.classic(h)
	for _, b := range h.GetBucket() {
		all[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	return prometheus.MustNewConstHistogram(durationDesc, h.GetSampleCount(), d.sum.Seconds(), all, d.method, d.status)
}

func scrape(t *testing.T, from prometheus.Gatherer, accept string) []byte {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(from, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
	return w.Body.Bytes()
}

func BenchmarkCollect(b *testing.B) {
	s := newSet(b, nil)
	for i := range 100 {
		m := s.Method(fmt.Sprintf("a.B/C%d", i))
		for part := range s.Parts() {
			for _, d := range samples {
				m.Done(part, codes.OK, d)
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
