package registry

import (
	"log/slog"
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	var opened string
	RegisterDriver("opentest", func(url string, _ *slog.Logger) (Registry, error) {
		opened = url
		return newFake(), nil
	})
	t.Cleanup(func() { // nothing of it is left for other tests
		drivers.Lock()
		delete(drivers.m, "opentest")
		drivers.Unlock()
	})

	for _, tt := range []struct {
		url     string
		wantErr []string
	}{
		{url: "opentest"},
		{url: "opentest:/some/dir"},
		{url: "opentest://a:1,b:2/p?x=y"},
		{url: "consul://h", wantErr: []string{`"consul://h" is unknown`, "none", "opentest"}},
		{url: "etcd://ann@h:2379/p", wantErr: []string{
			`"etcd://…@h:2379/p"`, `import _ "github.com/go-easyops/easyops/runtime/registry/etcd"`,
		}},
		{url: "", wantErr: []string{`"" is unknown`}},
		{url: "http://127.0.0.1:2379", wantErr: []string{"etcd://HOST:PORT,…", "did you mean etcd://127.0.0.1:2379?"}},
		{url: "127.0.0.1:2379", wantErr: []string{"did you mean etcd://127.0.0.1:2379?"}},
	} {
		t.Run(tt.url, func(t *testing.T) {
			opened = ""
			r, err := Open(tt.url, slog.Default())
			if tt.wantErr == nil {
				if err != nil || r == nil || opened != tt.url {
					t.Fatalf("got %v, %v; the driver was given %q", r, err, opened)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.wantErr {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestOpenNone(t *testing.T) {
	if r, err := Open("none", slog.Default()); r != nil || err != nil {
		t.Errorf("got %v, %v; want neither a registry nor an error", r, err)
	}
}

func TestRedact(t *testing.T) {
	for url, want := range map[string]string{
		"local":                             "local",
		"local:/a@b":                        "local:/a@b",
		"x://h:1,h2:1/p":                    "x://h:1,h2:1/p",
		"x://ann:se@cret@h:1/p?q=r":         "x://…@h:1/p?q=…",
		"x://h1?user=root&password=hunter2": "x://h1?user=…&password=…",
		"x:root:hunter2@h1:1":               "x:…@h1:1",
		"x://root:se/cret@h1":               "x://…@h1",
		"x://h1?token":                      "x://h1?token",
	} {
		if got := Redact(url); got != want {
			t.Errorf("%s became %s, want %s", url, got, want)
		}
	}
}
