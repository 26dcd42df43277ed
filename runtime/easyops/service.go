package easyops

import (
	"fmt"
	"reflect"

	"google.golang.org/grpc"
)

// GeneratedCodeVersion1 is what generated files name to say that they fit this
// runtime. A runtime that no longer fits them does not have it, and the file
// does not compile: run buf generate with the plugin of the same version as
// the runtime.
const GeneratedCodeVersion1 = true

// Comments are the comments of a service in its .proto file, by method name;
// the service's own is under the empty name. Descriptors do not carry them at
// run time, so generated code does. The API page shows them.
type Comments map[string]string

// Service is an implementation bound to the gRPC service that it implements.
// Generated Bind functions make it; [Start] serves it.
type Service struct {
	desc     *grpc.ServiceDesc
	impl     any
	comments Comments
	err      error
}

// Bind ties an implementation to its service. Generated code calls it with the
// register function that protoc-gen-go-grpc emits. A binding that cannot be
// served, such as one of a nil implementation, is reported by [Start].
func Bind[S any](register func(grpc.ServiceRegistrar, S), impl S, comments Comments) (s Service) {
	s.comments = comments
	defer func() {
		if p := recover(); p != nil {
			s.err = fmt.Errorf("%T cannot be registered (%v): embed the Unimplemented…Server struct by value, not as a pointer, and pass an implementation that is not nil", impl, p)
		}
	}()
	register(recorder{&s}, impl)
	if s.desc == nil && s.err == nil {
		s.err = fmt.Errorf("the register function for %T registered no service", impl)
	}
	return s
}

// recorder is a [grpc.ServiceRegistrar] that notes what is registered.
type recorder struct{ *Service }

func (r recorder) RegisterService(desc *grpc.ServiceDesc, impl any) {
	r.desc, r.impl = desc, impl
	if v := reflect.ValueOf(impl); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		r.err = fmt.Errorf("%s: the implementation is nil: pass a value that implements it", desc.ServiceName)
	}
}
