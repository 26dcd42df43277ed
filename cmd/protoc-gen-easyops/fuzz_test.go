package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// FuzzRequest changes the requests of the test cases. Whatever comes of it, the
// plugin answers in time: with an error, or with files that are sound.
func FuzzRequest(f *testing.F) {
	cases := testCases(f)
	var requests []*pluginpb.CodeGeneratorRequest
	for i, c := range cases {
		requests = append(requests, c.request(f, c.parameter))
		f.Add(uint8(i), []byte(nil))
		for seed := range 16 {
			f.Add(uint8(i), program(uint64(seed)))
		}
	}
	for i := range hostile {
		f.Add(uint8(0), []byte{2, 0, byte(i), 0, 3, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, start uint8, data []byte) {
		req := proto.CloneOf(requests[int(start)%len(requests)])
		mutate(req, data)
		if b, err := proto.Marshal(req); err != nil || proto.Unmarshal(b, &pluginpb.CodeGeneratorRequest{}) != nil {
			t.Skip("no request")
		}
		checkRequest(t, req, rand.New(rand.NewPCG(uint64(start), uint64(len(data)))))
	})
}

// program is what a mutator reads.
func program(seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, 4+random.IntN(60))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func checkRequest(t *testing.T, req *pluginpb.CodeGeneratorRequest, random *rand.Rand) {
	t.Helper()
	resp := inTime(t, overTheWire(t, req))
	for _, fault := range responseFaults(overTheWire(t, req), resp) {
		t.Error(fault)
	}
	other := overTheWire(t, req)
	if !shuffle(other, random) || !readable(other) {
		return // protogen reports the first file that it cannot read
	}
	if diff := cmp.Diff(resp.String(), respond(other).String()); diff != "" {
		t.Errorf("in another order:\n%s", diff)
	}
}

// inTime runs the plugin, twice if the machine was busy with something else.
func inTime(t *testing.T, req *pluginpb.CodeGeneratorRequest) *pluginpb.CodeGeneratorResponse {
	t.Helper()
	const limit = time.Second
	var took time.Duration
	for range 2 {
		begin := time.Now()
		resp := respond(proto.CloneOf(req))
		if took = time.Since(begin); took < limit {
			return resp
		}
	}
	t.Fatalf("took %v", took)
	return nil
}

// readable says whether protogen takes a request.
func readable(req *pluginpb.CodeGeneratorRequest) bool {
	_, err := protogen.Options{}.New(proto.CloneOf(req))
	return err == nil
}

// shuffle puts the files into another order in which each follows those that it
// imports, if there is one. Where two files have one path, which is refused, any
// order does.
func shuffle(req *pluginpb.CodeGeneratorRequest, random *rand.Rand) bool {
	random.Shuffle(len(req.FileToGenerate), func(i, j int) {
		req.FileToGenerate[i], req.FileToGenerate[j] = req.FileToGenerate[j], req.FileToGenerate[i]
	})
	waiting := map[string]bool{}
	for _, f := range req.ProtoFile {
		if waiting[f.GetName()] {
			random.Shuffle(len(req.ProtoFile), func(i, j int) {
				req.ProtoFile[i], req.ProtoFile[j] = req.ProtoFile[j], req.ProtoFile[i]
			})
			return true
		}
		waiting[f.GetName()] = true
	}
	var ordered []*descriptorpb.FileDescriptorProto
	for rest := req.ProtoFile; len(rest) > 0; {
		var ready []int
		for i, f := range rest {
			if !slices.ContainsFunc(f.Dependency, func(d string) bool { return waiting[d] }) {
				ready = append(ready, i)
			}
		}
		if len(ready) == 0 {
			return false
		}
		next := ready[random.IntN(len(ready))]
		ordered = append(ordered, rest[next])
		delete(waiting, rest[next].GetName())
		rest = slices.Delete(slices.Clone(rest), next, next+1)
	}
	req.ProtoFile = ordered
	return true
}
