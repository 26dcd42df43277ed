package main

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/google/go-cmp/cmp"
)

// A request is answered as if all of it had been read, with files and with faults.
func TestAnswer(t *testing.T) {
	faults := 0
	for _, c := range testCases(t) {
		req := c.request(t, c.parameter)
		for seed := range uint64(4) {
			if seed > 0 {
				req = proto.CloneOf(req)
				mutate(req, program(seed))
			}
			b, err := proto.Marshal(req)
			if err != nil {
				continue // it has texts that are none
			}
			faults += checkAnswer(t, c.name, b)
		}
	}
	if faults == 0 {
		t.Error("no request had faults")
	}
}

// checkAnswer returns how many faults there were.
func checkAnswer(t *testing.T, name string, b []byte) (faults int) {
	t.Helper()
	whole := &pluginpb.CodeGeneratorRequest{}
	wrong := proto.Unmarshal(b, whole)
	got, err := answer(b)
	if (err == nil) != (wrong == nil) {
		t.Fatalf("%s: error %v, want %v", name, err, wrong)
	}
	if err != nil {
		return 1
	}
	want := respond(whole)
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("%s (-whole +got):\n%s", name, diff)
	}
	if want.Error != nil {
		return 1
	}
	return 0
}

// What is cut off anywhere is refused as it is when it is read as a whole.
func TestAnswerToPart(t *testing.T) {
	b, err := proto.Marshal(testCases(t)[0].request(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	for end := 0; end < len(b); end += 1 + end/50 {
		checkAnswer(t, "part", b[:end])
	}
}

// What has nothing in the output is not read, and the rest is as it was.
func TestReadRequest(t *testing.T) {
	at := func(comment string, path ...int32) *descriptorpb.SourceCodeInfo_Location {
		return &descriptorpb.SourceCodeInfo_Location{Path: path, Span: []int32{1, 2, 3}, LeadingComments: proto.String(comment)}
	}
	shown := []*descriptorpb.SourceCodeInfo_Location{at("licence", syntaxField), at("service", servicesField, 0), at("method", servicesField, 0, 2, 0)}
	all := append([]*descriptorpb.SourceCodeInfo_Location{at("file"), at("message", 4, 0), at("dependency", 3, 0)}, shown...)
	served := &descriptorpb.FileDescriptorProto{
		Name: proto.String("a.proto"), Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S")}},
		SourceCodeInfo: &descriptorpb.SourceCodeInfo{Location: all},
	}
	other := &descriptorpb.FileDescriptorProto{Name: proto.String("b.proto"), SourceCodeInfo: served.SourceCodeInfo, Syntax: proto.String("proto3")}
	req := &pluginpb.CodeGeneratorRequest{ProtoFile: []*descriptorpb.FileDescriptorProto{served, other}, Parameter: proto.String("x")}
	b, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readRequest(b)
	if err != nil {
		t.Fatal(err)
	}
	served.SourceCodeInfo = &descriptorpb.SourceCodeInfo{Location: shown}
	other.SourceCodeInfo = nil
	if diff := cmp.Diff(req, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A path may be packed or not, and may come after others.
func TestIsShown(t *testing.T) {
	packed := func(n uint64) []byte {
		b := protowire.AppendTag(nil, pathField, protowire.BytesType)
		return protowire.AppendBytes(b, protowire.AppendVarint(protowire.AppendVarint(nil, n), 0))
	}
	single := func(n uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, pathField, protowire.VarintType), n)
	}
	comment := protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), "text")
	for name, c := range map[string]struct {
		location []byte
		want     bool
	}{
		"service":             {packed(servicesField), true},
		"message":             {packed(4), false},
		"service, single":     {single(servicesField), true},
		"message, single":     {single(4), false},
		"edition":             {packed(editionField), true},
		"after a comment":     {slices.Concat(comment, packed(servicesField)), true},
		"without a path":      {comment, false},
		"nothing":             {nil, false},
		"what cannot be read": {[]byte{0xff}, true},
		"cut off":             {comment[:3], true},
	} {
		if got := isShown(c.location); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
