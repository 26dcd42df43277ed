package reflection

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// What follows puts descriptors back into the messages of descriptor.proto that they
// were made of. What it returns shares the options with them, and is only to be read.
// Comments (source_code_info) are left out: generated code has none. A test compares it
// with package protodesc, and fails where descriptor.proto gets a field.

func describeFile(f protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	p := &descriptorpb.FileDescriptorProto{
		Name:        new(f.Path()),
		Package:     orNil(string(f.Package())),
		Options:     optionsOf[*descriptorpb.FileOptions](f),
		MessageType: each(f.Messages(), describeMessage),
		EnumType:    each(f.Enums(), describeEnum),
		Service:     each(f.Services(), describeService),
		Extension:   each(f.Extensions(), describeField),
	}
	for i := range f.Imports().Len() {
		in := f.Imports().Get(i)
		p.Dependency = append(p.Dependency, in.Path())
		if in.IsPublic {
			p.PublicDependency = append(p.PublicDependency, int32(i))
		}
	}
	if o, ok := f.(interface {
		OptionImports() protoreflect.FileImports
	}); ok {
		for i := range o.OptionImports().Len() {
			p.OptionDependency = append(p.OptionDependency, o.OptionImports().Get(i).Path())
		}
	}
	if f.Syntax() != protoreflect.Proto2 { // which is what none means
		p.Syntax = new(f.Syntax().String())
	}
	if e, ok := f.(interface{ Edition() int32 }); ok && f.Syntax() == protoreflect.Editions {
		p.Edition = descriptorpb.Edition(e.Edition()).Enum()
	}
	return p
}

func describeMessage(m protoreflect.MessageDescriptor) *descriptorpb.DescriptorProto {
	p := &descriptorpb.DescriptorProto{
		Name:       nameOf(m),
		Options:    optionsOf[*descriptorpb.MessageOptions](m),
		Field:      each(m.Fields(), describeField),
		Extension:  each(m.Extensions(), describeField),
		NestedType: each(m.Messages(), describeMessage),
		EnumType:   each(m.Enums(), describeEnum),
		OneofDecl: each(m.Oneofs(), func(o protoreflect.OneofDescriptor) *descriptorpb.OneofDescriptorProto {
			return &descriptorpb.OneofDescriptorProto{Name: nameOf(o), Options: optionsOf[*descriptorpb.OneofOptions](o)}
		}),
		ReservedName: namesOf(m.ReservedNames()),
		Visibility:   visibility(m),
	}
	for i := range m.ExtensionRanges().Len() {
		r := m.ExtensionRanges().Get(i)
		options, _ := m.ExtensionRangeOptions(i).(*descriptorpb.ExtensionRangeOptions)
		p.ExtensionRange = append(p.ExtensionRange, &descriptorpb.DescriptorProto_ExtensionRange{
			Start: new(int32(r[0])), End: new(int32(r[1])), Options: options,
		})
	}
	for i := range m.ReservedRanges().Len() {
		r := m.ReservedRanges().Get(i)
		p.ReservedRange = append(p.ReservedRange, &descriptorpb.DescriptorProto_ReservedRange{Start: new(int32(r[0])), End: new(int32(r[1]))})
	}
	return p
}

func describeField(f protoreflect.FieldDescriptor) *descriptorpb.FieldDescriptorProto {
	p := &descriptorpb.FieldDescriptorProto{
		Name:         nameOf(f),
		Number:       new(int32(f.Number())),
		Label:        descriptorpb.FieldDescriptorProto_Label(f.Cardinality()).Enum(),
		Type:         descriptorpb.FieldDescriptorProto_Type(f.Kind()).Enum(),
		DefaultValue: defaultOf(f),
		Options:      optionsOf[*descriptorpb.FieldOptions](f),
	}
	if f.HasJSONName() {
		p.JsonName = new(jsonName(f))
	}
	if m := f.Message(); m != nil {
		p.TypeName = typeOf(m)
	}
	if e := f.Enum(); e != nil {
		p.TypeName = typeOf(e)
	}
	if f.IsExtension() {
		p.Extendee = typeOf(f.ContainingMessage())
	}
	if o := f.ContainingOneof(); o != nil {
		p.OneofIndex = new(int32(o.Index()))
	}
	switch f.Syntax() {
	case protoreflect.Proto3:
		if f.HasOptionalKeyword() {
			p.Proto3Optional = new(true)
		}
	case protoreflect.Editions: // they say so in the features
		if f.Kind() == protoreflect.GroupKind {
			p.Type = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
		}
		if f.Cardinality() == protoreflect.Required {
			p.Label = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
		}
	}
	return p
}

func describeEnum(e protoreflect.EnumDescriptor) *descriptorpb.EnumDescriptorProto {
	p := &descriptorpb.EnumDescriptorProto{
		Name:    nameOf(e),
		Options: optionsOf[*descriptorpb.EnumOptions](e),
		Value: each(e.Values(), func(v protoreflect.EnumValueDescriptor) *descriptorpb.EnumValueDescriptorProto {
			return &descriptorpb.EnumValueDescriptorProto{
				Name: nameOf(v), Number: new(int32(v.Number())), Options: optionsOf[*descriptorpb.EnumValueOptions](v),
			}
		}),
		ReservedName: namesOf(e.ReservedNames()),
		Visibility:   visibility(e),
	}
	for i := range e.ReservedRanges().Len() {
		r := e.ReservedRanges().Get(i)
		p.ReservedRange = append(p.ReservedRange, &descriptorpb.EnumDescriptorProto_EnumReservedRange{Start: new(int32(r[0])), End: new(int32(r[1]))})
	}
	return p
}

func describeService(s protoreflect.ServiceDescriptor) *descriptorpb.ServiceDescriptorProto {
	return &descriptorpb.ServiceDescriptorProto{
		Name: nameOf(s), Options: optionsOf[*descriptorpb.ServiceOptions](s), Method: each(s.Methods(), describeMethod),
	}
}

func describeMethod(m protoreflect.MethodDescriptor) *descriptorpb.MethodDescriptorProto {
	p := &descriptorpb.MethodDescriptorProto{
		Name: nameOf(m), InputType: typeOf(m.Input()), OutputType: typeOf(m.Output()),
		Options: optionsOf[*descriptorpb.MethodOptions](m),
	}
	if m.IsStreamingClient() {
		p.ClientStreaming = new(true)
	}
	if m.IsStreamingServer() {
		p.ServerStreaming = new(true)
	}
	return p
}

// each puts each of a list of descriptors into its message.
func each[D, P any](of interface {
	Len() int
	Get(i int) D
}, describe func(D) P,
) (all []P) {
	for i := range of.Len() {
		all = append(all, describe(of.Get(i)))
	}
	return all
}

func optionsOf[O proto.Message](d protoreflect.Descriptor) O {
	o, _ := d.Options().(O) // nil where there are none
	return o
}

func nameOf(d protoreflect.Descriptor) *string { return new(string(d.Name())) }

// typeOf is a name as other descriptors refer to it.
func typeOf(d protoreflect.Descriptor) *string { return new("." + string(d.FullName())) }

// jsonName is the name of a field in JSON. That of an extension is its full name, and
// protoc writes down what it would be of another field.
func jsonName(f protoreflect.FieldDescriptor) string {
	if !f.IsExtension() {
		return f.JSONName()
	}
	words := strings.Split(string(f.Name()), "_")
	for i, w := range words {
		if i > 0 && w != "" && 'a' <= w[0] && w[0] <= 'z' {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}

func namesOf(of protoreflect.Names) (all []string) {
	for i := range of.Len() {
		all = append(all, string(of.Get(i)))
	}
	return all
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// visibility is what edition 2024 says of who may use a type.
func visibility(d protoreflect.Descriptor) *descriptorpb.SymbolVisibility {
	if v, ok := d.(interface{ Visibility() int32 }); ok && v.Visibility() > 0 {
		return descriptorpb.SymbolVisibility(v.Visibility()).Enum()
	}
	return nil
}
