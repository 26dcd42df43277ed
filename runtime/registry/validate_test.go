package registry

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func valid() Instance {
	return Instance{
		ID:         "abc123",
		Service:    "echo.v1.EchoService",
		Addr:       "10.0.0.7:4100",
		Kinds:      []Kind{KindGRPC, KindStatus},
		Health:     Ready,
		Version:    "v1.2.3",
		Tags:       map[string]string{"zone": "a"},
		StatusAddr: "[::1]:4101",
		Started:    time.Unix(1_800_000_000, 0).UTC(),
	}
}

func TestValidate(t *testing.T) {
	manyTags := map[string]string{}
	for n := range maxTags {
		manyTags[fmt.Sprint("k", n)] = strings.Repeat("v", maxText)
	}
	for _, tt := range []struct {
		name    string
		change  func(*Instance)
		wantErr string
	}{
		{"valid", func(*Instance) {}, ""},
		{"host name", func(i *Instance) { i.Addr = "echo-1.prod.example.com:1" }, ""},
		{"kind of the future", func(i *Instance) { i.Kinds = []Kind{"grpc", "quic"} }, ""},
		{"no ID", func(i *Instance) { i.ID = "" }, "instance ID"},
		{"ID with a path", func(i *Instance) { i.ID = "../x" }, "instance ID"},
		{"service with a path", func(i *Instance) { i.Service = "a/b" }, "service name"},
		{"service of dots", func(i *Instance) { i.Service = ".." }, "service name"},
		{"long service", func(i *Instance) { i.Service = strings.Repeat("a", 256) }, "service name"},
		{"no port", func(i *Instance) { i.Addr = "10.0.0.7" }, "must be host:port"},
		{"port 0", func(i *Instance) { i.Addr = "10.0.0.7:0" }, "port"},
		{"port too high", func(i *Instance) { i.Addr = "10.0.0.7:65536" }, "port"},
		{"named port", func(i *Instance) { i.Addr = "10.0.0.7:http" }, "port"},
		{"no host", func(i *Instance) { i.Addr = ":4100" }, "host"},
		{"unspecified", func(i *Instance) { i.Addr = "[::]:4100" }, "nobody can connect"},
		{"host with a slash", func(i *Instance) { i.Addr = "unix/x:1" }, "host"},
		{"status address", func(i *Instance) { i.StatusAddr = "x" }, "status address"},
		{"health", func(i *Instance) { i.Health = "FINE" }, "health"},
		{"no kinds", func(i *Instance) { i.Kinds = nil }, "0 kinds"},
		{"bad kind", func(i *Instance) { i.Kinds = []Kind{"G RPC"} }, "kind"},
		{"control character", func(i *Instance) { i.Version = "v1\n\x1b[31m" }, `v1\n\x1b[31m`},
		{"bidi override", func(i *Instance) { i.Owner = "\u202eadmin" }, "owner"},
		{"long owner", func(i *Instance) { i.Owner = strings.Repeat("a", maxText+1) }, "owner"},
		{"too many tags", func(i *Instance) {
			i.Tags = map[string]string{"one": "more"}
			for k, v := range manyTags {
				i.Tags[k] = v
			}
		}, "33 tags"},
		{"empty tag", func(i *Instance) { i.Tags = map[string]string{"": "x"} }, "tag"},
		{"tag value", func(i *Instance) { i.Tags = map[string]string{"k": "\x00"} }, "value"},
		{"too large", func(i *Instance) { i.Tags = manyTags }, "at most 4096"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := valid()
			tt.change(&i)
			err := i.Validate()
			switch {
			case tt.wantErr == "" && err != nil:
				t.Errorf("unexpected: %v", err)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Errorf("got %v, want an error that says %q", err, tt.wantErr)
			case err != nil && len(err.Error()) > 1000:
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestValidateAll(t *testing.T) {
	other, twice, bad := valid(), valid(), valid()
	other.Service, other.ID = "b", "other"
	bad.Service, bad.Addr = "c", ""
	err := ValidateAll([]Instance{valid(), twice, other, bad})
	for _, want := range []string{"listed twice", "must share one", "must be host:port"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	if err := ValidateAll(nil); err == nil {
		t.Error("no error for no instances")
	}
	if err := ValidateAll([]Instance{valid()}); err != nil {
		t.Error(err)
	}
}

func TestNewID(t *testing.T) {
	a, b := NewID(), NewID()
	if a == b || !made(a, 64, isIDChar) {
		t.Errorf("IDs %q and %q", a, b)
	}
}

// The names are read by other programs and by people.
func TestJSON(t *testing.T) {
	got, err := json.Marshal(valid())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"abc123","service":"echo.v1.EchoService","addr":"10.0.0.7:4100","kinds":["grpc","status"],"health":"READY",` +
		`"version":"v1.2.3","tags":{"zone":"a"},"status_addr":"[::1]:4101","started":"2027-01-15T08:00:00Z"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
