package etcd

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

func sample() registry.Instance {
	return registry.Instance{
		ID: "abc", Service: "echo.v1.Echo", Addr: "10.0.0.7:4100",
		Kinds: []registry.Kind{"grpc", "http"}, Health: registry.Ready, Version: "v1", Owner: "ann",
		Tags: map[string]string{"zone": "a"}, StatusAddr: "10.0.0.7:4101", Started: time.Unix(1_800_000_000, 0).UTC(),
	}
}

func TestEntryThereAndBack(t *testing.T) {
	full, least := sample(), sample()
	least.Tags, least.Version, least.Owner, least.StatusAddr, least.Kinds = nil, "", "", "", grpcOnly
	for _, i := range []registry.Instance{full, least} {
		value, err := encode(&i)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(i.Service, i.ID, []byte(value))
		if err != nil || !reflect.DeepEqual(got, i) {
			t.Errorf("%s\nbecame %+v, %v", value, got, err)
		}
	}
	value, _ := encode(&least)
	const want = `{"Op":0,"Addr":"10.0.0.7:4100","Metadata":{"v":1,"id":"abc","kinds":["grpc"],"health":"READY",` +
		`"version":"","tags":{},"owner":"","status_addr":"","started":"2027-01-15T08:00:00Z"}}`
	if value != want {
		t.Errorf("got  %s\nwant %s", value, want)
	}
}

// TestEntryTooLarge holds that nothing is written that readers skip, also where
// it is valid as an instance: the value is longer.
func TestEntryTooLarge(t *testing.T) {
	i := sample()
	for n := range 15 {
		i.Tags[strings.Repeat("k", 13)+string(rune('a'+n))] = strings.Repeat("v", 235)
	}
	refused := 0
	for n := range 256 {
		i.Version = strings.Repeat("x", n)
		value, err := encode(&i)
		if err == nil && len(value) > registry.MaxEntrySize {
			t.Fatalf("a value of %d bytes", len(value))
		}
		if err != nil && i.Validate() == nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("the test is blind: every valid instance fits")
	}
}

func TestForeignEntries(t *testing.T) {
	for _, tt := range []struct{ name, value, id string }{
		{"e1", `{"Op":0,"Addr":"10.0.0.7:1","Metadata":null}`, "e1"},
		{"e1", `{"Addr":"10.0.0.7:1"}`, "e1"},
		{"e1", `{"Op":0,"Addr":"10.0.0.7:1","Metadata":"text"}`, "e1"},
		{"e1", `{"Op":0,"Addr":"10.0.0.7:1","Metadata":{"v":"x","weight":3}}`, "e1"},
		{"10.0.0.7:1", `{"Addr":"10.0.0.7:1"}`, "10-0-0-7-1-" + strings.TrimPrefix(foreignID("10.0.0.7:1"), "10-0-0-7-1-")},
		{"a/b", `{"Addr":"10.0.0.7:1"}`, foreignID("a/b")},
		{strings.Repeat("x", 300), `{"Addr":"10.0.0.7:1"}`, foreignID(strings.Repeat("x", 300))},
	} {
		i, err := decode("echo", tt.name, []byte(tt.value))
		if err != nil || i.ID != tt.id || i.Health != registry.Ready || len(i.Kinds) != 1 || i.Addr != "10.0.0.7:1" {
			t.Errorf("%s %s: %+v, %v", tt.name, tt.value, i, err)
		}
	}
	if foreignID("a:b") == foreignID("a.b") {
		t.Error("two keys make one ID")
	}
}

func TestBadEntries(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"e1", `x`, "no entry"},
		{"e1", `[]`, "no entry"},
		{"e1", `{"Op":1,"Addr":"h:1"}`, "operation 1"},
		{"e1", `{"Addr":"h"}`, "host:port"},
		{"e1", `{"Addr":"0.0.0.0:1"}`, "unspecified"},
		{"e1", `{"Addr":"h:1","Metadata":{"v":2,"id":"e1"}}`, "version 2"},
		{"e1", `{"Addr":"h:1","Metadata":{"v":1,"id":"e2"}}`, "that of the key"},
		{"e1", `{"Addr":"h:1","Metadata":{"v":1,"id":"e1","health":"READY","kinds":["grpc"],"started":"yesterday"}}`, "metadata"},
		{"e1", `{"Addr":"h:1","Metadata":{"v":1,"id":"e1","health":"FINE","kinds":["grpc"]}}`, "health"},
		{"e1", `{"Addr":"h:1"` + strings.Repeat(" ", registry.MaxEntrySize) + `}`, "bytes"},
		{"", `{"Addr":"h:1","Metadata":{"v":1,"id":""}}`, "instance ID"},
	} {
		if i, err := decode("echo", tt.name, []byte(tt.value)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s: %+v, %v; want an error with %q", tt.value, i, err, tt.want)
		}
	}
}

// FuzzEntry wants no value to do harm: what is decoded is valid, fits the key,
// and means the same when it is written again.
func FuzzEntry(f *testing.F) {
	i := sample()
	value, err := encode(&i)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("abc", []byte(value))
	f.Add("abc", []byte(strings.Replace(value, `"v":1`, `"v":1e0`, 1)))
	f.Add("10.0.0.1:80", []byte(`{"Op":0,"Addr":"10.0.0.1:80","Metadata":null}`))
	f.Add("x", []byte(`{"Metadata":{"v":1,"id":"x","tags":{"a":null}}}`))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		got, err := decode("echo.v1.Echo", name, value)
		if err != nil {
			return
		}
		if err := got.Validate(); err != nil || got.Service != "echo.v1.Echo" {
			t.Fatalf("%q: %+v is not valid: %v", value, got, err)
		}
		again, err := encode(&got)
		if err != nil {
			return // longer than it was: too long
		}
		if back, err := decode(got.Service, got.ID, []byte(again)); err != nil || !reflect.DeepEqual(back, got) {
			t.Fatalf("%q\nmeans  %+v\nthen   %+v, %v", value, got, back, err)
		}
	})
}
