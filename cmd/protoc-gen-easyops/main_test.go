package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func TestRun(t *testing.T) {
	tests := []struct {
		name, args     string
		stdin          string
		code           int
		stdout, stderr string // parts of what is written
	}{
		{"version", "--version", "", 0, "protoc-gen-easyops ", ""},
		{"help", "-h", "", 0, "is a plugin of buf and protoc", ""},
		{"argument", "a.proto", "", 2, "", `unknown argument "a.proto"`},
		{"no request", "", "not a request", 1, "", "protoc-gen-easyops: the request: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(strings.Fields(test.args), strings.NewReader(test.stdin), &stdout, &stderr)
			if code != test.code || !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("code %d\nstdout %q\nstderr %q", code, &stdout, &stderr)
			}
		})
	}
}

// A person who runs the plugin learns what it is, and is not left waiting. The
// null device is a terminal's likeness.
func TestRunByHand(t *testing.T) {
	terminal, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var stdout, stderr bytes.Buffer
	if code := run(nil, terminal, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "is a plugin of buf and protoc") {
		t.Errorf("code %d, stderr %q", code, &stderr)
	}
}

func TestServe(t *testing.T) {
	c := testCases(t)[0]
	req := c.request(t, c.parameter)
	in, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run(nil, bytes.NewReader(in), &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("code %d, stderr %q", code, &stderr)
	}
	got := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(stdout.Bytes(), got); err != nil {
		t.Fatal(err)
	}
	if want := respond(req); !proto.Equal(want, got) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFeatures(t *testing.T) {
	resp := respond(&pluginpb.CodeGeneratorRequest{})
	const want = pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL | pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS
	if resp.GetSupportedFeatures() != uint64(want) || resp.Error != nil || len(resp.File) > 0 {
		t.Error(resp)
	}
	for _, e := range []descriptorpb.Edition{descriptorpb.Edition_EDITION_2023, descriptorpb.Edition_EDITION_2024} {
		if n := int32(e); n < resp.GetMinimumEdition() || n > resp.GetMaximumEdition() {
			t.Errorf("%v is not declared", e)
		}
	}
}
