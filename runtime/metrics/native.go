package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// durations is the histogram of the calls of a method that ended with a status, as
// a scrape has it: with gRFC A66's buckets, and with exponential ones, which only
// protobuf carries.
type durations struct {
	method, status string
	counts         [buckets]uint64
	sum            time.Duration
	since          *timestamppb.Timestamp // when nothing was counted yet; text does not carry it
}

// Desc implements [prometheus.Metric].
func (*durations) Desc() *prometheus.Desc { return durationDesc }

// Write implements [prometheus.Metric].
func (d *durations) Write(to *dto.Metric) error {
	to.Label = []*dto.LabelPair{
		{Name: proto.String("grpc_method"), Value: proto.String(d.method)},
		{Name: proto.String("grpc_status"), Value: proto.String(d.status)},
	}
	to.Histogram = &dto.Histogram{SampleSum: proto.Float64(d.sum.Seconds()), CreatedTimestamp: d.since}
	d.classic(to.Histogram)
	d.native(to.Histogram)
	return nil
}

// classic fills in the buckets of gRFC A66, each with those below it.
func (d *durations) classic(h *dto.Histogram) {
	var counts [len(durationBounds) + 1]uint64
	for bucket, n := range d.counts {
		counts[theScale.standard[bucket]] += n
	}
	for i := range len(counts) - 1 {
		counts[i+1] += counts[i]
	}
	all := make([]dto.Bucket, len(durationBounds)) // at once: there are forty for each series
	h.Bucket = make([]*dto.Bucket, len(durationBounds))
	for i := range all {
		all[i].CumulativeCount, all[i].UpperBound = &counts[i], &seconds[i]
		h.Bucket[i] = &all[i]
	}
	h.SampleCount = &counts[len(durationBounds)]
}

// native fills in the exponential buckets: runs of neighbours (spans), and in
// them the difference of each count to the one before.
func (d *durations) native(h *dto.Histogram) {
	var counts [powers + 1]uint64
	for bucket, n := range d.counts {
		counts[theScale.power[bucket]] += n
	}
	h.Schema = proto.Int32(schema)
	h.ZeroThreshold = proto.Float64(zeroThreshold)
	h.ZeroCount = proto.Uint64(counts[0])
	var before uint64
	next := 0 // the index that would continue the span
	for i, n := range counts {
		if i == 0 || n == 0 {
			continue
		}
		index := firstPower + i
		if len(h.PositiveSpan) == 0 || index != next {
			h.PositiveSpan = append(h.PositiveSpan, &dto.BucketSpan{Offset: proto.Int32(int32(index - next)), Length: proto.Uint32(0)})
		}
		*h.PositiveSpan[len(h.PositiveSpan)-1].Length++
		h.PositiveDelta = append(h.PositiveDelta, int64(n)-int64(before))
		before, next = n, index+1
	}
}

// zeroThreshold is the bound of the zero bucket in seconds.
const zeroThreshold = 1.0 / (1 << (-firstPower / perDoubling))

// seconds are durationBounds, and are never written.
var seconds = func() (all [len(durationBounds)]float64) {
	for i, bound := range durationBounds {
		all[i] = bound.Seconds()
	}
	return all
}()
