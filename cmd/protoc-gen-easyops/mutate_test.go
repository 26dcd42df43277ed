package main

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// mutator changes a request as the bytes of a fuzz test say. The same bytes
// make the same changes; it ends with them.
type mutator struct {
	data []byte
	req  *pluginpb.CodeGeneratorRequest
}

// mutate changes a request at most so many times, so that an input stays as
// small as those that people write.
func mutate(req *pluginpb.CodeGeneratorRequest, data []byte) {
	const steps = 50
	m := &mutator{data, req}
	for range steps {
		if len(m.data) == 0 {
			return
		}
		m.step()
	}
}

func (m *mutator) step() {
	switch m.below(10) {
	case 0:
		req := m.req.ProtoReflect()
		m.field(req, m.anyField(req))
	case 1:
		m.message(m.file().ProtoReflect())
	case 2, 3:
		m.comment()
	case 4:
		m.rename()
	case 5:
		if s := m.service(); s != nil {
			s.Name = proto.String(m.text(identifiers))
		}
	case 6:
		if s := m.service(); s != nil {
			m.message(s.ProtoReflect())
		}
	case 7:
		m.options()
	case 8:
		opts := m.fileOptions()
		opts.GoPackage = proto.String(m.text(goPackages))
	case 9:
		m.req.Parameter = proto.String(m.text(parameters))
	}
}

func (m *mutator) byte() byte {
	if len(m.data) == 0 {
		return 0
	}
	b := m.data[0]
	m.data = m.data[1:]
	return b
}

// below is a number from 0 to n-1, or 0 where there is none.
func (m *mutator) below(n int) int {
	if n <= 0 {
		return 0
	}
	return int(m.byte()) % n
}

// text is one of a list, or of the bytes.
func (m *mutator) text(list []string) string {
	b := int(m.byte())
	if b < 240 {
		return list[b%len(list)]
	}
	return string(m.raw())
}

func (m *mutator) raw() []byte {
	n := min(m.below(32), len(m.data))
	b := m.data[:n]
	m.data = m.data[n:]
	return b
}

// file is one of the files that are no part of protobuf.
func (m *mutator) file() *descriptorpb.FileDescriptorProto {
	var own []*descriptorpb.FileDescriptorProto
	for _, f := range m.req.ProtoFile {
		if !strings.HasPrefix(f.GetName(), "google/protobuf/") {
			own = append(own, f)
		}
	}
	if len(own) == 0 {
		return &descriptorpb.FileDescriptorProto{}
	}
	return own[m.below(len(own))]
}

func (m *mutator) fileOptions() *descriptorpb.FileOptions {
	f := m.file()
	if f.Options == nil {
		f.Options = &descriptorpb.FileOptions{}
	}
	return f.Options
}

func (m *mutator) service() *descriptorpb.ServiceDescriptorProto {
	var list []*descriptorpb.ServiceDescriptorProto
	for _, f := range m.req.ProtoFile {
		list = append(list, f.Service...)
	}
	if len(list) == 0 {
		return nil
	}
	return list[m.below(len(list))]
}

// options changes the options of a service or a method, also to what the
// compiler would not have made.
func (m *mutator) options() {
	s := m.service()
	if s == nil {
		return
	}
	var opts protoreflect.Message
	if i := m.below(len(s.Method) + 1); i < len(s.Method) {
		if s.Method[i].Options == nil {
			s.Method[i].Options = &descriptorpb.MethodOptions{}
		}
		opts = s.Method[i].Options.ProtoReflect()
	} else {
		if s.Options == nil {
			s.Options = &descriptorpb.ServiceOptions{}
		}
		opts = s.Options.ProtoReflect()
	}
	switch number := numbers[m.below(len(numbers))]; {
	case m.below(2) == 0:
		m.message(opts)
	case number > 0 && number <= int64(protowire.MaxValidNumber):
		field := protowire.AppendTag(nil, protowire.Number(number), protowire.BytesType)
		opts.SetUnknown(protowire.AppendBytes(field, m.raw()))
	}
}

// comment adds one to a service, a method, the syntax or the package.
func (m *mutator) comment() {
	f := m.file()
	if f.SourceCodeInfo == nil {
		f.SourceCodeInfo = &descriptorpb.SourceCodeInfo{}
	}
	paths := [][]int32{{12}, {14}, {2}, {6, 0}, {6, 1}, {6, 0, 2, 0}, {6, 0, 2, 1}, {6, 0, 3}, {}, {6, -1}}
	text := m.text(hostile)
	for range m.below(4) {
		text += m.text([]string{"", "\n", "\n\n", " ", "\r", "\t"}) + m.text(hostile)
	}
	location := &descriptorpb.SourceCodeInfo_Location{
		Path:             paths[m.below(len(paths))],
		Span:             []int32{int32(m.byte()), 0, 1},
		LeadingComments:  &text,
		TrailingComments: &text,
	}
	if m.below(2) == 0 {
		location.LeadingDetachedComments = []string{text, text}
	}
	if m.below(2) == 0 { // the first of a path counts
		f.SourceCodeInfo.Location = nil
	}
	f.SourceCodeInfo.Location = append(f.SourceCodeInfo.Location, location)
}

// rename gives a message another name wherever it stands.
func (m *mutator) rename() {
	f := m.file()
	if len(f.MessageType) == 0 {
		return
	}
	msg := f.MessageType[m.below(len(f.MessageType))]
	name := m.text(identifiers)
	prefix := strings.TrimSuffix("."+f.GetPackage(), ".") + "."
	old, now := prefix+msg.GetName(), prefix+name
	msg.Name = &name
	for _, other := range m.req.ProtoFile {
		replaceTypes(other.ProtoReflect(), old, now)
	}
}

// replaceTypes replaces references to a type and to those in it.
func replaceTypes(msg protoreflect.Message, old, now string) {
	replace := func(s string) string {
		if rest, ok := strings.CutPrefix(s, old); ok && (rest == "" || rest[0] == '.') {
			return now + rest
		}
		return s
	}
	msg.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsList() && fd.Message() != nil:
			for i := range v.List().Len() {
				replaceTypes(v.List().Get(i).Message(), old, now)
			}
		case !fd.IsList() && fd.Message() != nil:
			replaceTypes(v.Message(), old, now)
		case !fd.IsList() && fd.Kind() == protoreflect.StringKind && strings.HasPrefix(v.String(), "."):
			msg.Set(fd, protoreflect.ValueOfString(replace(v.String())))
		}
		return true
	})
}

// message changes a field of a message, or of one in it.
func (m *mutator) message(msg protoreflect.Message) {
	if fd := m.anyField(msg); fd != nil {
		m.field(msg, fd)
	}
}

// anyField is a field of a message: mostly one that is set.
func (m *mutator) anyField(msg protoreflect.Message) protoreflect.FieldDescriptor {
	all := msg.Descriptor().Fields()
	var set []protoreflect.FieldDescriptor
	for i := range all.Len() { // Range has no order
		if msg.Has(all.Get(i)) {
			set = append(set, all.Get(i))
		}
	}
	i := m.below(len(set) + 2)
	if i < len(set) {
		return set[i]
	}
	if all.Len() == 0 {
		return nil
	}
	return all.Get(m.below(all.Len()))
}

func (m *mutator) field(msg protoreflect.Message, fd protoreflect.FieldDescriptor) {
	switch {
	case fd == nil || fd.IsMap():
	case m.below(16) == 0:
		msg.Clear(fd)
	case fd.IsList():
		m.list(msg.Mutable(fd).List(), fd)
	case fd.Message() != nil:
		m.message(msg.Mutable(fd).Message())
	default:
		msg.Set(fd, m.scalar(fd))
	}
}

func (m *mutator) list(list protoreflect.List, fd protoreflect.FieldDescriptor) {
	n := list.Len()
	switch i := m.below(n); m.below(6) {
	case 0: // one more
		if fd.Message() == nil {
			list.Append(m.scalar(fd))
			return
		}
		m.message(list.AppendMutable().Message())
	case 1: // twice
		if n > 0 {
			list.Append(cloned(list.Get(i), fd))
		}
	case 2: // one less
		if n > 0 {
			list.Set(i, list.Get(n-1))
			list.Truncate(n - 1)
		}
	default:
		if n == 0 {
			return
		}
		if fd.Message() == nil {
			list.Set(i, m.scalar(fd))
			return
		}
		m.message(list.Get(i).Message())
	}
}

func cloned(v protoreflect.Value, fd protoreflect.FieldDescriptor) protoreflect.Value {
	if fd.Message() == nil {
		return v
	}
	return protoreflect.ValueOfMessage(proto.Clone(v.Message().Interface()).ProtoReflect())
}

var numbers = []int64{0, 1, 2, 3, -1, 15, 127, 128, 999, 1000, 1001, 19000, 51700, 51701, 536870911, 536870912, 1<<31 - 1, -1 << 31}

func (m *mutator) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(m.below(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(numbers[m.below(len(numbers))]))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(numbers[m.below(len(numbers))]))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(numbers[m.below(len(numbers))])
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(numbers[m.below(len(numbers))]))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(m.byte()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(m.raw())
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(m.text(identifiers))
	}
	return fd.Default()
}

// identifiers are names that Go, or what we emit, has a use for already.
var identifiers = []string{
	"S", "M", "A", "a", "_", "__", "_x", "x_", "a__b", "X1", "1x", "", "func", "type", "init", "main", "nil", "error",
	"string", "any", "C", "unsafe", "go", "easyops", "impl", "opts", "conn", "err", "Start", "Dial", "Bind", "StartS",
	"StartSServer", "BindSServer", "DialS", "SServer", "SClient", "NewSClient", "RegisterSServer", "S_ServiceDesc",
	"S_A", "S_AClient", "StartEcho", "EchoService", "echo_service", "DialEchoService", "Echo", "Größe", "\u202eS",
	"x y", "X\nY", "X*/", "X//go:build x", "p.S", ".p.M", strings.Repeat("Long", 100), "\xff", "a.proto", "../a.proto",
	"_a.proto", "a +build x.proto", "+build x", "a_test.proto", "a_linux.proto", "/a.proto", "a\n//go:build x\n.proto", "easyops/v1/options.proto",
	"google/protobuf/descriptor.proto", "proto2", "proto3", "editions",
}

var goPackages = []string{
	"example.com/p", "example.com/q", "example.com/p;q", "example.com/p;main", "example.com/p;_", "example.com/p;func",
	"example.com/p;init", "p", "./p", "../p", "/p", "C", "x/C", "example.com/p;C", "x/unsafe", "example.com/p/internal",
	"example.com/a b", "example.com/p\"", "example.com/p\n//go:build x", "example.com/Größe", "example.com/p/", "",
	";", "example.com/easyops", "example.com/impl", "example.com/StartS", "example.com/p;easyops", "example.com/string",
	"github.com/go-easyops/easyops/runtime/easyops", "github.com/go-easyops/easyops/proto/easyops/v1", "a//b", "-", "a/-b",
	"example.com/p/internal/q", "example.com/internal", "../../p", "./../p", "example.com/x/../../p", "example.com/\x00;p", "p\u202e/q",
}

var parameters = []string{
	"", "paths=source_relative", "paths=import", "module=example.com", "module=example.com/p", "package=example.com/x",
	"package=example.com/x;y", "package=example.com/p", "package=example.com/x,paths=source_relative", "package=C",
	"package=x/C", "package=x;C", "package=example.com/x;init", "package=example.com/S", "package=example.com/DialS",
	"package=example.com/x,module=example.com", "package=", ",", "=", "M=", "Ma.proto=", "Ma.proto=example.com/p;q",
	"package=example.com/x,Ma.proto=example.com/y,Mb.proto=example.com/z", "package=github.com/go-easyops/easyops/runtime/easyops",
	"module=", "paths=", "package=example.com/x\n", "x=y", "package=example.com/-", "package=example.com/~", "package=./x",
	"package=example.com/internal/x", "paths=import,paths=source_relative", "Ma.proto=example.com/\x1b", "module=\u202e",
	"package=example.com/con", "package=example.com/x,package=example.com/y", "Ma.proto=example.com/q;r\n", "x\xff=y",
}
