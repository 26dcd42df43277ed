package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// The size of the request: that of a large company's interfaces.
const (
	packages        = 1800 // each has one service
	files           = 7000
	methods         = 7 // of each service
	fieldsOfRequest = 5 // and of each response
	messages        = 6 // of each file without a service
	fields          = 8 // of each of those messages

	commonFile    = "large/common/common.proto"
	commonMessage = ".large.common.Common0"
)

const (
	commentOfField   = " The value of the field, in the unit that the caller has asked for.\n"
	commentOfMessage = " A part of what the service works with. It may be left out where it is not known,\n" +
		" and then the service takes what it has noted before.\n"
	commentOfMethod = " Does what its name says, once for each call.\n\n" +
		" Calls that come again with the same request get the same answer.\n"
)

// Where things are in a file, by the numbers of descriptor.proto's fields.
const (
	pathPackage  = 2
	pathMessages = 4
	pathServices = 6
	pathFields   = 2 // of a message
	pathMethods  = 2 // of a service
	pathName     = 1
)

// writeRequest writes the large request into a file.
func writeRequest(args []string) error {
	if len(args) != 1 {
		return errors.New("request needs the name of a file")
	}
	b, err := proto.Marshal(largeRequest(packages, files))
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], b, 0o600)
}

// checkResponse reads the answer of a plugin: it must have as many files as are
// expected.
func checkResponse(args []string) error {
	if len(args) != 2 {
		return errors.New("response needs the name of a file, and how many files it has")
	}
	want, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var resp pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(b, &resp); err != nil {
		return err
	}
	return checkAnswer(&resp, want)
}

func checkAnswer(resp *pluginpb.CodeGeneratorResponse, want int) error {
	if resp.GetError() != "" {
		return errors.New(resp.GetError())
	}
	if n := len(resp.GetFile()); n != want {
		return fmt.Errorf("there are %d files, not %d", n, want)
	}
	return nil
}

// largeRequest has a number of packages with a service each, and files that are
// spread over them.
func largeRequest(packages, files int) *pluginpb.CodeGeneratorRequest {
	req := &pluginpb.CodeGeneratorRequest{Parameter: proto.String("paths=source_relative")}
	add := func(f *descriptorpb.FileDescriptorProto) string {
		req.ProtoFile = append(req.ProtoFile, f)
		req.FileToGenerate = append(req.FileToGenerate, f.GetName())
		return f.GetName()
	}
	add(messageFile(commonFile, "large.common", nil))
	others := files - packages - 1
	for p := range packages {
		imports := []string{commonFile}
		name := fmt.Sprintf("p%04d", p)
		for i := range (p+1)*others/packages - p*others/packages {
			imports = append(imports, add(messageFile(fmt.Sprintf("large/%s/part%d.proto", name, i), "large."+name, imports[:1])))
		}
		add(serviceFile(name, imports))
	}
	return req
}

// file is a .proto file that is being made, with the positions and comments
// that a compiler sends.
type file struct {
	*descriptorpb.FileDescriptorProto
	line int32
}

func newFile(name, pkg string, imports []string) *file {
	f := &file{FileDescriptorProto: &descriptorpb.FileDescriptorProto{
		Name:           proto.String(name),
		Package:        proto.String(pkg),
		Dependency:     imports,
		Syntax:         proto.String("proto3"),
		Options:        &descriptorpb.FileOptions{GoPackage: proto.String("example.com/" + strings.ReplaceAll(pkg, ".", "/"))},
		SourceCodeInfo: &descriptorpb.SourceCodeInfo{},
	}}
	f.at("")
	f.at("", pathPackage)
	return f
}

// at notes the position of what lies at a path, on a line of its own.
func (f *file) at(comment string, path ...int32) {
	f.line++
	f.same(comment, path...)
}

func (f *file) same(comment string, path ...int32) {
	loc := &descriptorpb.SourceCodeInfo_Location{Path: path, Span: []int32{f.line, 2, 60}}
	if comment != "" {
		loc.LeadingComments = proto.String(comment)
	}
	f.SourceCodeInfo.Location = append(f.SourceCodeInfo.Location, loc)
}

func messageFile(name, pkg string, imports []string) *descriptorpb.FileDescriptorProto {
	f := newFile(name, pkg, imports)
	base := camel(name)
	other := ""
	if len(imports) > 0 {
		other = commonMessage
	}
	for i := range messages {
		f.message(fmt.Sprintf("%s%d", base, i), fields, other)
	}
	return f.FileDescriptorProto
}

// camel makes the name of a file the beginning of a message's name.
func camel(name string) string {
	base := strings.TrimSuffix(path.Base(name), ".proto")
	return strings.ToUpper(base[:1]) + base[1:]
}

// message adds a message. Its last field is another message, if one is named.
func (f *file) message(name string, fields int, other string) {
	m := int32(len(f.MessageType))
	d := &descriptorpb.DescriptorProto{Name: proto.String(name)}
	f.at(commentOfMessage, pathMessages, m)
	f.same("", pathMessages, m, pathName)
	for i := range fields {
		field := &descriptorpb.FieldDescriptorProto{
			Name:     proto.String(fmt.Sprintf("value_of_field_%d", i)),
			JsonName: proto.String(fmt.Sprintf("valueOfField%d", i)),
			Number:   proto.Int32(int32(i + 1)),
			Label:    descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			Type:     kinds[i%len(kinds)].Enum(),
		}
		if other != "" && i == fields-1 {
			field.Type, field.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(other)
		}
		d.Field = append(d.Field, field)
		f.at(commentOfField, pathMessages, m, pathFields, int32(i))
		for _, part := range []int32{5, pathName, 3} { // type, name and number
			f.same("", pathMessages, m, pathFields, int32(i), part)
		}
	}
	f.MessageType = append(f.MessageType, d)
}

var kinds = []descriptorpb.FieldDescriptorProto_Type{
	descriptorpb.FieldDescriptorProto_TYPE_STRING,
	descriptorpb.FieldDescriptorProto_TYPE_INT64,
	descriptorpb.FieldDescriptorProto_TYPE_BOOL,
	descriptorpb.FieldDescriptorProto_TYPE_BYTES,
	descriptorpb.FieldDescriptorProto_TYPE_DOUBLE,
}

// serviceFile has a service and the messages of its methods.
func serviceFile(name string, imports []string) *descriptorpb.FileDescriptorProto {
	pkg := "large." + name
	f := newFile("large/"+name+"/service.proto", pkg, imports)
	s := &descriptorpb.ServiceDescriptorProto{Name: proto.String("Large" + name[1:] + "Service")}
	f.at(commentOfMessage, pathServices, 0)
	f.same("", pathServices, 0, pathName)
	for i := range methods {
		method := fmt.Sprintf("Method%d", i)
		f.message(method+"Request", fieldsOfRequest, commonMessage)
		f.message(method+"Response", fieldsOfRequest, "")
		s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{
			Name:            proto.String(method),
			InputType:       proto.String("." + pkg + "." + method + "Request"),
			OutputType:      proto.String("." + pkg + "." + method + "Response"),
			ServerStreaming: proto.Bool(i == methods-1),
		})
		f.at(commentOfMethod, pathServices, 0, pathMethods, int32(i))
		for _, part := range []int32{pathName, 2, 3} { // name, request and response
			f.same("", pathServices, 0, pathMethods, int32(i), part)
		}
	}
	f.Service = append(f.Service, s)
	return f.FileDescriptorProto
}
