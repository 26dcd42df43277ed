package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Bounds of what is described.
const (
	maxFields   = 500 // of a message, and values of an enum
	maxMessages = 200 // of a service
)

// Describe describes a service from its descriptor. comments has the comment
// of each method by name and the service's own under the empty name; rule
// gives what holds for a method. Both may be nil. gRPC's own services, such as
// health and reflection, count as infrastructure.
func Describe(sd protoreflect.ServiceDescriptor, comments map[string]string, rule func(method string) Rule) Service {
	s := Service{Name: string(sd.FullName()), Comment: comments[""], Methods: []Method{}}
	s.Infrastructure = strings.HasPrefix(s.Name, "grpc.")
	if o, ok := sd.Options().(*descriptorpb.ServiceOptions); ok {
		s.Deprecated = o.GetDeprecated()
	}
	for i := range sd.Methods().Len() {
		md := sd.Methods().Get(i)
		m := describeMethod(md)
		m.Comment = comments[m.Name]
		if rule != nil {
			m.Rule = rule(m.Name)
		}
		s.Methods = append(s.Methods, m)
	}
	s.Messages = fieldMessages(sd)
	return s
}

// fieldMessages are the messages that the requests and responses of a service
// consist of, at any depth.
func fieldMessages(sd protoreflect.ServiceDescriptor) []Message {
	var todo []protoreflect.MessageDescriptor
	for i := range sd.Methods().Len() {
		todo = append(todo, sd.Methods().Get(i).Input(), sd.Methods().Get(i).Output())
	}
	found := map[protoreflect.FullName]*Message{}
	for len(todo) > 0 && len(found) < maxMessages {
		fields := todo[0].Fields()
		todo = todo[1:]
		for i := range min(fields.Len(), maxFields) {
			md := heldMessage(fields.Get(i))
			if md == nil || found[md.FullName()] != nil || wellKnown[md.FullName()] != "" {
				continue
			}
			found[md.FullName()] = describeMessage(md)
			todo = append(todo, md)
		}
	}
	messages := []Message{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		messages = append(messages, *found[name])
	}
	return messages
}

// heldMessage is the message that a field holds, in a map or not, or nil.
func heldMessage(fd protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if fd.IsMap() {
		fd = fd.MapValue()
	}
	return fd.Message()
}

func describeMethod(md protoreflect.MethodDescriptor) Method {
	m := Method{
		Name:    string(md.Name()),
		Kind:    KindOf(md.IsStreamingClient(), md.IsStreamingServer()),
		Request: describeMessage(md.Input()), Response: describeMessage(md.Output()),
		Example: example(md.Input()),
	}
	if o, ok := md.Options().(*descriptorpb.MethodOptions); ok {
		m.Deprecated = o.GetDeprecated()
		if o.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN {
			m.Idempotency = o.GetIdempotencyLevel().String()
		}
	}
	return m
}

func describeMessage(md protoreflect.MessageDescriptor) *Message {
	m := &Message{Name: string(md.FullName()), Fields: []Field{}}
	for i := range min(md.Fields().Len(), maxFields) {
		m.Fields = append(m.Fields, describeField(md.Fields().Get(i)))
	}
	return m
}

func describeField(fd protoreflect.FieldDescriptor) Field {
	f := Field{Name: string(fd.Name()), Number: int(fd.Number()), Type: typeName(fd)}
	if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() {
		f.Oneof = string(o.Name())
	}
	if o, ok := fd.Options().(*descriptorpb.FieldOptions); ok {
		f.Deprecated = o.GetDeprecated()
	}
	if md := heldMessage(fd); md != nil {
		f.Message = string(md.FullName())
	}
	if e := fd.Enum(); e != nil {
		for i := range min(e.Values().Len(), maxFields) {
			f.Values = append(f.Values, string(e.Values().Get(i).Name()))
		}
	}
	return f
}

// typeName is a field's type as its .proto file spells it.
func typeName(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.IsMap():
		return fmt.Sprintf("map<%s, %s>", typeName(fd.MapKey()), typeName(fd.MapValue()))
	case fd.IsList():
		return "repeated " + elementName(fd)
	case fd.HasOptionalKeyword():
		return "optional " + elementName(fd)
	case fd.Cardinality() == protoreflect.Required:
		return "required " + elementName(fd)
	}
	return elementName(fd)
}

func elementName(fd protoreflect.FieldDescriptor) string {
	if m := fd.Message(); m != nil {
		return string(m.FullName())
	}
	if e := fd.Enum(); e != nil {
		return string(e.FullName())
	}
	return fd.Kind().String()
}
