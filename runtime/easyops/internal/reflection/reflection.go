// Package reflection is gRPC's server reflection, v1 and v1alpha (see
// grpc/reflection/v1/reflection.proto), of the services that a server has and of the
// files that are linked into it.
//
// grpc-go's own rests on package protodesc, whose init decodes the defaults of the
// editions: a tenth of the start of a server, which few are ever asked for.
package reflection

import (
	"errors"
	"io"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	_ "google.golang.org/grpc/reflection/grpc_reflection_v1alpha" // its file, for those who ask for it
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Server is a gRPC server, or what registers with one.
type Server interface {
	grpc.ServiceRegistrar
	GetServiceInfo() map[string]grpc.ServiceInfo
}

// Register registers both versions. What the server is asked for it looks up at that
// time.
func Register(s Server) {
	r := &reflector{services: s.GetServiceInfo, files: protoregistry.GlobalFiles, types: protoregistry.GlobalTypes}
	for _, version := range []string{"v1", "v1alpha"} {
		s.RegisterService(r.desc(version), r)
	}
}

// reflector answers requests. It may serve any number of streams at a time.
type reflector struct {
	services func() map[string]grpc.ServiceInfo
	files    *protoregistry.Files
	types    *protoregistry.Types
}

// desc describes the service in a version. The messages of v1alpha have other names
// and look the same on the wire, so those of v1 do for both.
func (r *reflector) desc(version string) *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "grpc.reflection." + version + ".ServerReflection",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "ServerReflectionInfo", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return r.serve(stream) },
		}},
		Metadata: "grpc/reflection/" + version + "/reflection.proto",
	}
}

// serve answers the requests of a stream, one after the other.
func (r *reflector) serve(stream grpc.ServerStream) error {
	sent := map[string]bool{}
	for {
		var in reflectionpb.ServerReflectionRequest
		if err := stream.RecvMsg(&in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		out, err := r.answer(&in, sent)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(out); err != nil {
			return err
		}
	}
}

// answer answers one request. What is not found is said in the answer; an error ends
// the stream.
func (r *reflector) answer(in *reflectionpb.ServerReflectionRequest, sent map[string]bool) (*reflectionpb.ServerReflectionResponse, error) {
	out := &reflectionpb.ServerReflectionResponse{ValidHost: in.GetHost(), OriginalRequest: in}
	var file protoreflect.FileDescriptor
	var err error
	switch ask := in.GetMessageRequest().(type) {
	case *reflectionpb.ServerReflectionRequest_ListServices:
		out.MessageResponse = &reflectionpb.ServerReflectionResponse_ListServicesResponse{ListServicesResponse: r.list()}
		return out, nil
	case *reflectionpb.ServerReflectionRequest_AllExtensionNumbersOfType:
		out.MessageResponse, err = r.extensions(ask.AllExtensionNumbersOfType)
	case *reflectionpb.ServerReflectionRequest_FileByFilename:
		file, err = r.files.FindFileByPath(ask.FileByFilename)
	case *reflectionpb.ServerReflectionRequest_FileContainingSymbol:
		file, err = r.fileOf(protoreflect.FullName(ask.FileContainingSymbol))
	case *reflectionpb.ServerReflectionRequest_FileContainingExtension:
		file, err = r.fileOfExtension(ask.FileContainingExtension)
	default:
		return nil, status.Errorf(codes.InvalidArgument, "a reflection request of a kind that is not known")
	}
	if err == nil && file != nil {
		out.MessageResponse, err = withImports(file, sent)
	}
	if err != nil {
		out.MessageResponse = &reflectionpb.ServerReflectionResponse_ErrorResponse{
			ErrorResponse: &reflectionpb.ErrorResponse{ErrorCode: int32(codes.NotFound), ErrorMessage: err.Error()},
		}
	}
	return out, nil
}

// list lists the services of the server by name.
func (r *reflector) list() *reflectionpb.ListServiceResponse {
	all := &reflectionpb.ListServiceResponse{}
	for _, name := range slices.Sorted(maps.Keys(r.services())) {
		all.Service = append(all.Service, &reflectionpb.ServiceResponse{Name: name})
	}
	return all
}

func (r *reflector) fileOf(name protoreflect.FullName) (protoreflect.FileDescriptor, error) {
	d, err := r.descriptor(name)
	if err != nil {
		return nil, err
	}
	return d.ParentFile(), nil
}

// longestName is more than any name has.
const longestName = 1 << 10

// descriptor finds what has a name. Every prefix of the name that ends before a dot is
// looked up, under a lock of all files: so it is looked at first.
func (r *reflector) descriptor(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if len(name) > longestName || !name.IsValid() {
		return nil, protoregistry.NotFound
	}
	return r.files.FindDescriptorByName(name)
}

func (r *reflector) fileOfExtension(ask *reflectionpb.ExtensionRequest) (protoreflect.FileDescriptor, error) {
	x, err := r.types.FindExtensionByNumber(protoreflect.FullName(ask.GetContainingType()), protoreflect.FieldNumber(ask.GetExtensionNumber()))
	if err != nil {
		return nil, err
	}
	return x.TypeDescriptor().ParentFile(), nil
}

// extensions lists the numbers of the known extensions of a message.
func (r *reflector) extensions(of string) (*reflectionpb.ServerReflectionResponse_AllExtensionNumbersResponse, error) {
	name := protoreflect.FullName(of)
	if _, err := r.descriptor(name); err != nil {
		return nil, err
	}
	all := &reflectionpb.ExtensionNumberResponse{BaseTypeName: of}
	r.types.RangeExtensionsByMessage(name, func(x protoreflect.ExtensionType) bool {
		all.ExtensionNumber = append(all.ExtensionNumber, int32(x.TypeDescriptor().Number()))
		return true
	})
	slices.Sort(all.ExtensionNumber)
	return &reflectionpb.ServerReflectionResponse_AllExtensionNumbersResponse{AllExtensionNumbersResponse: all}, nil
}

// withImports returns a file, and those of its imports, at any depth, that the stream
// has not had yet. Imports that are not linked are left out.
func withImports(file protoreflect.FileDescriptor, sent map[string]bool) (*reflectionpb.ServerReflectionResponse_FileDescriptorResponse, error) {
	if file.IsPlaceholder() {
		return nil, protoregistry.NotFound
	}
	all := &reflectionpb.FileDescriptorResponse{}
	todo, seen := []protoreflect.FileDescriptor{file}, map[string]bool{file.Path(): true}
	for ; len(todo) > 0; todo = todo[1:] {
		f := todo[0]
		if f.IsPlaceholder() {
			continue
		}
		if !sent[f.Path()] || f == file {
			sent[f.Path()] = true
			data, err := proto.Marshal(describeFile(f))
			if err != nil {
				return nil, err
			}
			all.FileDescriptorProto = append(all.FileDescriptorProto, data)
		}
		for i := range f.Imports().Len() {
			if next := f.Imports().Get(i).FileDescriptor; !seen[next.Path()] {
				seen[next.Path()] = true
				todo = append(todo, next)
			}
		}
	}
	return &reflectionpb.ServerReflectionResponse_FileDescriptorResponse{FileDescriptorResponse: all}, nil
}
