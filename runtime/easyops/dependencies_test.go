package easyops

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// linked are the descriptors of a program that is linked with the services.
func linked(t *testing.T, services ...string) *protoregistry.Files {
	t.Helper()
	files := &protoregistry.Files{}
	for _, full := range services {
		dot := strings.LastIndex(full, ".")
		pkg, name, path := full[:dot], full[dot+1:], full+".proto"
		file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
			Name: &path, Package: &pkg, Service: []*descriptorpb.ServiceDescriptorProto{{Name: &name}},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := files.RegisterFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// What may be called is a dependency; what the server serves itself and what
// libraries bring along is not.
func TestLinkedIn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{})
		files := linked(t,
			"mail.v1.MailService", "grpcx.v1.Mine", testServiceName, healthService,
			"grpc.reflection.v1.ServerReflection", "grpc.channelz.v1.Channelz", "etcdserverpb.KV", "v3lockpb.Lock",
		)
		got := slices.Sorted(maps.Keys(r.linkedIn(files)))
		wantEqual(t, "linked", strings.Join(got, " "), "grpcx.v1.Mine mail.v1.MailService")
	})
}

func TestWorse(t *testing.T) {
	const ready, idle, connecting, failing, unknown = "READY", "IDLE", "CONNECTING", "TRANSIENT_FAILURE", "SHUTDOWN"
	all := []string{"", ready, idle, connecting, failing, unknown}
	for i, a := range all {
		for j, b := range all {
			want := all[max(i, j)]
			if got := worse(a, b); got != want {
				t.Errorf("worse(%q, %q) = %q, want %q", a, b, got, want)
			}
		}
	}
}
