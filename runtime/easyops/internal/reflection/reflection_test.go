package reflection

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	theirs "google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	alphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "github.com/go-easyops/easyops/proto/easyops/v1" // a file with imports
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served returns a client of a server with reflection.
func served(t *testing.T, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	s := grpc.NewServer()
	testpb.RegisterTestServiceServer(s, testpb.UnimplementedTestServiceServer{})
	register(s)
	lis := bufconn.Listen(1 << 20)
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func ours(s *grpc.Server) { Register(s) }

func name(s string) *reflectionpb.ServerReflectionRequest {
	return &reflectionpb.ServerReflectionRequest{Host: "h", MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: s}}
}

func symbol(s string) *reflectionpb.ServerReflectionRequest {
	return &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: s}}
}

func numbers(s string) *reflectionpb.ServerReflectionRequest {
	return &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_AllExtensionNumbersOfType{AllExtensionNumbersOfType: s}}
}

func extension(of string, n int32) *reflectionpb.ServerReflectionRequest {
	return &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingExtension{
		FileContainingExtension: &reflectionpb.ExtensionRequest{ContainingType: of, ExtensionNumber: n},
	}}
}

var list = &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}

// asked are questions and what goes wrong with them.
var asked = []*reflectionpb.ServerReflectionRequest{
	list,
	symbol("grpc.testing.TestService"), symbol("grpc.testing.TestService.EmptyCall"), symbol("grpc.testing.Empty"), symbol("grpc.testing.TestService"),
	symbol("grpc.reflection.v1.ServerReflection"), symbol("grpc.reflection.v1alpha.ServerReflection"),
	symbol("easyops.v1.MethodRules"), symbol("no.Such"), symbol(""), symbol("..x"),
	name("google/protobuf/descriptor.proto"), name("no.proto"), name(""),
	extension("google.protobuf.MethodOptions", 51701), extension("google.protobuf.MethodOptions", 1), extension("", 0),
	numbers("google.protobuf.MethodOptions"), numbers("grpc.testing.Empty"), numbers("no.Such"),
}

// alpha is a message of v1 as one of v1alpha, by the bytes.
func alpha[M proto.Message](t *testing.T, from proto.Message, to M) M {
	t.Helper()
	data, err := proto.Marshal(from)
	if err == nil {
		err = proto.Unmarshal(data, to)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func ask(t *testing.T, conn *grpc.ClientConn, version string) (all []*reflectionpb.ServerReflectionResponse) {
	t.Helper()
	v1, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old, err := alphapb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range asked {
		var out *reflectionpb.ServerReflectionResponse
		if version == "v1" {
			_ = v1.Send(in)
			out, err = v1.Recv()
		} else {
			_ = old.Send(alpha(t, in, &alphapb.ServerReflectionRequest{})) //nolint:staticcheck // old clients ask for it
			var got *alphapb.ServerReflectionResponse                      //nolint:staticcheck // old clients ask for it
			if got, err = old.Recv(); err == nil {
				out = alpha(t, got, &reflectionpb.ServerReflectionResponse{})
			}
		}
		if err != nil {
			t.Fatalf("%v: %v", in, err)
		}
		all = append(all, out)
	}
	return all
}

// opened has the files of an answer as messages, since equal ones may differ in bytes.
func opened(t *testing.T, r *reflectionpb.ServerReflectionResponse) []proto.Message {
	t.Helper()
	all := []proto.Message{r}
	files := r.GetFileDescriptorResponse().GetFileDescriptorProto()
	for _, data := range files {
		f := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(data, f); err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	if files != nil {
		r.GetFileDescriptorResponse().FileDescriptorProto = nil
	}
	slices.Sort(r.GetAllExtensionNumbersResponse().GetExtensionNumber())
	return all
}

// In both versions each answer is the one that grpc-go's own reflection gives.
func TestAnswersAreThoseOfGRPC(t *testing.T) {
	reference := served(t, func(s *grpc.Server) { theirs.Register(s) })
	conn := served(t, ours)
	for _, version := range []string{"v1", "v1alpha"} {
		want, got := ask(t, reference, version), ask(t, conn, version)
		for i := range asked {
			if d := cmp.Diff(opened(t, want[i]), opened(t, got[i]), protocmp.Transform()); d != "" {
				t.Errorf("%s, %v: %s", version, asked[i], d)
			}
		}
	}
}

// The messages of both versions are the same on the wire.
func TestVersionsAreAlike(t *testing.T) {
	v1, old := describeFile(reflectionpb.File_grpc_reflection_v1_reflection_proto), describeFile(alphapb.File_grpc_reflection_v1alpha_reflection_proto)
	for i, m := range v1.MessageType {
		o := old.MessageType[i]
		if m.GetName() != o.GetName() || len(m.Field) != len(o.Field) {
			t.Fatalf("%v is %v", m.GetName(), o.GetName())
		}
		for j, f := range m.Field {
			if g := o.Field[j]; f.GetNumber() != g.GetNumber() || f.GetType() != g.GetType() || f.GetLabel() != g.GetLabel() || f.GetName() != g.GetName() {
				t.Errorf("%v is %v", f, g)
			}
		}
	}
}

func TestUnknownRequestEndsTheStream(t *testing.T) {
	stream, err := reflectionpb.NewServerReflectionClient(served(t, ours)).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&reflectionpb.ServerReflectionRequest{Host: "x"})
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("%v", err)
	}
}

// A file that a stream has had is not sent with others again, only when it is asked for.
// The time that it takes to look up a name grows with the square of how many dots it
// has: with 2 MiB of them it would be half a minute.
func TestLongNames(t *testing.T) {
	r := &reflector{files: protoregistry.GlobalFiles, types: protoregistry.GlobalTypes}
	for _, part := range []string{".", "a."} {
		long := strings.Repeat(part, 2<<20/len(part)) + "a"
		for _, in := range []*reflectionpb.ServerReflectionRequest{symbol(long), numbers(long)} {
			begin := time.Now()
			out, err := r.answer(in, map[string]bool{})
			if code := codes.Code(out.GetErrorResponse().GetErrorCode()); err != nil || code != codes.NotFound {
				t.Errorf("%q…: %v, %v", long[:4], code, err)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("%q…: answered after %v", long[:4], took)
			}
		}
	}
}

func TestImportsAreSentOnce(t *testing.T) {
	r := &reflector{files: protoregistry.GlobalFiles, types: protoregistry.GlobalTypes}
	sent := map[string]bool{}
	var counts []int
	for range 2 {
		out, err := r.answer(symbol("easyops.v1.MethodRules"), sent)
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, len(out.GetFileDescriptorResponse().GetFileDescriptorProto()))
	}
	if counts[0] < 2 || counts[1] != 1 {
		t.Errorf("%v files", counts)
	}
}

// Whatever is asked, there is an answer or an error, never a panic, and no more files
// than there are.
func FuzzAnswer(f *testing.F) {
	for _, in := range asked {
		data, _ := proto.Marshal(in)
		f.Add(data)
	}
	r := &reflector{services: func() map[string]grpc.ServiceInfo { return nil }, files: protoregistry.GlobalFiles, types: protoregistry.GlobalTypes}
	f.Fuzz(func(t *testing.T, data []byte) {
		var in reflectionpb.ServerReflectionRequest
		if proto.Unmarshal(data, &in) != nil {
			return
		}
		out, err := r.answer(&in, map[string]bool{})
		if (out == nil) == (err == nil) {
			t.Fatalf("%v, %v", out, err)
		}
		if n := len(out.GetFileDescriptorResponse().GetFileDescriptorProto()); n > protoregistry.GlobalFiles.NumFiles() {
			t.Errorf("%d files", n)
		}
		if _, err := proto.Marshal(out); err != nil {
			t.Error(err)
		}
	})
}
