package status

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"google.golang.org/protobuf/reflect/protoregistry"
	_ "google.golang.org/protobuf/types/known/durationpb" // the fixture imports its descriptor
)

// echoService is the descriptor of a service with all four kinds of method.
func echoService(t testing.TB) protoreflect.ServiceDescriptor {
	t.Helper()
	method := func(name string, client, server bool, level descriptorpb.MethodOptions_IdempotencyLevel) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: proto.String(name), InputType: proto.String(".echo.v1.EchoRequest"), OutputType: proto.String(".echo.v1.EchoResponse"),
			ClientStreaming: proto.Bool(client), ServerStreaming: proto.Bool(server),
			Options: &descriptorpb.MethodOptions{IdempotencyLevel: level.Enum(), Deprecated: proto.Bool(name == "Collect")},
		}
	}
	const none, safe = descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN, descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("echo/v1/echo.proto"), Package: proto.String("echo.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/duration.proto"},
		EnumType: []*descriptorpb.EnumDescriptorProto{{
			Name: proto.String("Voice"),
			Value: []*descriptorpb.EnumValueDescriptorProto{
				{Name: proto.String("VOICE_UNSPECIFIED"), Number: proto.Int32(0)},
				{Name: proto.String("VOICE_LOUD"), Number: proto.Int32(1)},
			},
		}},
		MessageType: []*descriptorpb.DescriptorProto{
			{
				Name: proto.String("EchoRequest"),
				Field: []*descriptorpb.FieldDescriptorProto{
					field("message", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING, ""),
					field("count", 2, descriptorpb.FieldDescriptorProto_TYPE_INT32, ""),
					field("voice", 3, descriptorpb.FieldDescriptorProto_TYPE_ENUM, ".echo.v1.Voice"),
					field("delay", 4, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".google.protobuf.Duration"),
					repeated(field("tags", 5, descriptorpb.FieldDescriptorProto_TYPE_STRING, "")),
					field("style", 6, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".echo.v1.Style"),
				},
			},
			{
				Name: proto.String("Style"),
				Field: []*descriptorpb.FieldDescriptorProto{
					field("font", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING, ""),
					repeated(field("inner", 2, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".echo.v1.Style")),
				},
			},
			{
				Name:  proto.String("EchoResponse"),
				Field: []*descriptorpb.FieldDescriptorProto{field("message", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING, "")},
			},
		},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: proto.String("EchoService"),
			Method: []*descriptorpb.MethodDescriptorProto{
				method("Echo", false, false, safe), method("Repeat", false, true, safe),
				method("Collect", true, false, none), method("Chat", true, true, none),
			},
		}},
	}
	fd, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return fd.Services().Get(0)
}

func field(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, typeName string) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{
		Name: proto.String(name), Number: proto.Int32(number), Type: kind.Enum(),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	if typeName != "" {
		f.TypeName = proto.String(typeName)
	}
	return f
}

func repeated(f *descriptorpb.FieldDescriptorProto) *descriptorpb.FieldDescriptorProto {
	f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	return f
}

// echoComments are the comments that generated code passes on.
var echoComments = map[string]string{
	"":        "EchoService sends back what it is sent.\n\nIt is here to show how a service is written.",
	"Echo":    "Echo answers with the message that it is sent.",
	"Repeat":  "Repeat answers with the message, count times,\none response each.",
	"Collect": "Collect answers with all messages, joined, when the caller has sent the last one.",
	"Chat":    "Chat answers each message as it comes.",
}

// echoRule is what holds for the methods.
func echoRule(method string) Rule {
	switch method {
	case "Echo":
		return Rule{Access: "users in group staff", Token: true, Deadline: Seconds(5 * time.Second)}
	case "Repeat":
		return Rule{Access: "everyone"}
	}
	return Rule{Access: "authenticated callers", Token: true}
}

func echoServices(t testing.TB) []Service {
	return []Service{
		Describe(echoService(t), echoComments, echoRule),
		{
			Name: "grpc.health.v1.Health", Infrastructure: true,
			Methods: []Method{{Name: "Check", Kind: Unary, Rule: Rule{Access: "everyone"}, Example: "{}"}},
		},
	}
}
