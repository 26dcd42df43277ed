package easyops

import (
	"strings"
	"testing"
)

func TestRegistryHosts(t *testing.T) {
	for url, want := range map[string]string{
		"local": "", "none": "", "local:/tmp/a": "", "local:/tmp/a://b": "", "local://tmp/a": "", "": "",
		"etcd://":                          "",
		"etcd:///prefix":                   "",
		"etcd://a:1":                       "a:1",
		"etcd://a":                         "a:2379",
		"etcd://a:1,b:2,c/prefix?user=x@y": "a:1 b:2 c:2379",
		"etcd://u:p@a:1,b:2":               "a:1 b:2",
		"etcd://u@[::1]:1,[fd00::1]":       "[::1]:1 [fd00::1]:2379",
		"etcd://10.0.0.7:1?ca=/a,b":        "10.0.0.7:1",
		"etcd://a:1,,b:2,":                 "a:1 b:2",
	} {
		if got := strings.Join(registryHosts(url), " "); got != want {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}
