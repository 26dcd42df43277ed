package monitoring

import (
	"bytes"
	"errors"
	"io"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// The forms that scrapers accept: Prometheus 2, whose choice is protobuf where it
// wants native histograms, and an agent that knows OpenMetrics alone.
const (
	acceptText        = "text/plain;version=0.0.4"
	acceptOpenMetrics = "application/openmetrics-text;version=1.0.0,*/*;q=0.1"
	acceptProtobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.3"
)

const durationName = "grpc_server_call_duration_seconds"

// What a scraper accepts it gets, under both paths; ?format= changes that only for
// text.
func TestForms(t *testing.T) {
	f := start(t)
	client, _ := f.dial(t)
	if _, err := client.Echo(t.Context(), &echov1.EchoRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/metrics", "/internal/service-info/metrics"} {
		for _, c := range []struct {
			query, accept string
			want          expfmt.FormatType
		}{
			{"", acceptText, expfmt.TypeTextPlain},
			{"", "text/html,*/*", expfmt.TypeTextPlain},
			{"", acceptOpenMetrics, expfmt.TypeOpenMetrics},
			{"", acceptProtobuf, expfmt.TypeProtoDelim},
			{"?format=json", acceptProtobuf, expfmt.TypeProtoDelim},
			{"?format=text", acceptProtobuf, expfmt.TypeTextPlain},
		} {
			t.Run(path+c.query+" "+c.accept, func(t *testing.T) {
				body, contentType := f.scrape(t, path+c.query, c.accept)
				if got := expfmt.Format(contentType).FormatType(); got != c.want {
					t.Fatalf("Content-Type %q", contentType)
				}
				if c.want == expfmt.TypeProtoDelim {
					checkNative(t, families(t, body))
				}
			})
		}
	}
}

// checkNative finds a call in the exponential buckets and in the classic ones.
func checkNative(t *testing.T, all map[string]*dto.MetricFamily) {
	t.Helper()
	for _, m := range all[durationName].GetMetric() {
		h := m.GetHistogram()
		if h.GetSampleCount() == 0 {
			continue
		}
		if h.GetSchema() != 2 || len(h.GetPositiveDelta()) == 0 || len(h.GetBucket()) < 40 {
			t.Errorf("schema %d, %d exponential buckets, %d classic ones", h.GetSchema(), len(h.GetPositiveDelta()), len(h.GetBucket()))
		}
		return
	}
	t.Errorf("no call in %d series", len(all[durationName].GetMetric()))
}

// families reads the form that Prometheus reads for native histograms.
func families(t *testing.T, body []byte) map[string]*dto.MetricFamily {
	t.Helper()
	all := map[string]*dto.MetricFamily{}
	from := expfmt.NewDecoder(bytes.NewReader(body), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		family := &dto.MetricFamily{}
		err := from.Decode(family)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[family.GetName()] = family
	}
}

// parse reads text.
func parse(t *testing.T, body []byte) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return all
}
