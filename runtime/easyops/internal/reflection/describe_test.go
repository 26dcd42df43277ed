package reflection

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
	_ "google.golang.org/protobuf/types/gofeaturespb" // a file with extensions
)

// sources have what linked files may lack.
var sources = map[string]string{
	"old.proto": `
syntax = "proto2";
package old.v1;
import public "google/protobuf/timestamp.proto";
import "google/protobuf/descriptor.proto";
option java_package = "com.example";
extend google.protobuf.MethodOptions { optional string note_of_it = 50001; optional string _x_2y = 50003; }
message M {
  option deprecated = true;
  reserved 2, 15, 9 to 11;
  reserved "foo", "bar";
  extensions 100 to 199;
  extensions 1000 to max [declaration = { number: 1000, full_name: ".old.v1.x", type: "int32" }];
  required int32 a = 1 [default = -7];
  optional uint64 b = 3 [default = 18446744073709551615];
  optional float f = 4 [default = 1.1];
  optional double inf = 5 [default = inf];
  optional double minus = 6 [default = -inf];
  optional double nan = 7 [default = nan];
  optional double small = 8 [default = 1e-300];
  optional string s = 12 [default = "a\"b\n\\ü"];
  optional bytes raw = 13 [default = "\001\377'\"\\\n\r\t~ x"];
  optional bool yes = 14 [default = true];
  optional E e = 16 [default = TWO];
  repeated group G = 17 { optional int32 in = 1; }
  repeated int32 packed = 18 [packed = true];
  oneof o { option (oneof_note) = "n"; string x = 19; google.protobuf.Timestamp y = 20 [json_name = "why", deprecated = true]; }
  map<string, M> more = 21;
  extend M { optional int32 within = 101; }
  enum Inner { NONE = 0; }
}
extend google.protobuf.OneofOptions { optional string oneof_note = 50002; }
enum E { option allow_alias = true; reserved 5 to 7, 100 to max; reserved "X"; ONE = 1; TWO = 2 [deprecated = true]; UNO = 1; MINUS = -1; }
extend M { optional string beside = 100 [default = "d"]; }
service S {
  option deprecated = true;
  rpc Unary(M) returns (M) { option idempotency_level = IDEMPOTENT; option (note_of_it) = "x"; }
  rpc Up(stream M) returns (M);
  rpc Down(M) returns (stream M);
  rpc Both(stream M) returns (stream M);
}`,
	"new.proto": `
syntax = "proto3";
message M { optional int32 may = 1; int32 is = 2; repeated int32 list = 3; M self = 4; oneof o { string x = 5; } }`,
	"edition.proto": `
edition = "2023";
package edition.v1;
option features.enum_type = CLOSED;
message M {
  int32 must = 1 [features.field_presence = LEGACY_REQUIRED];
  M delimited = 2 [features.message_encoding = DELIMITED];
  string def = 3 [default = "d"];
}
enum E { A = 1; }`,
}

func compile(t *testing.T) (files []protoreflect.FileDescriptor) {
	t.Helper()
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(sources),
	})}
	found, err := compiler.Compile(context.Background(), "old.proto", "new.proto", "edition.proto")
	if err != nil {
		t.Fatal(err)
	}
	// By protodesc and generic options, as a program has them.
	var set descriptorpb.FileDescriptorSet
	for _, dep := range []string{"google/protobuf/descriptor.proto", "google/protobuf/timestamp.proto"} {
		fd, err := protoregistry.GlobalFiles.FindFileByPath(dep)
		if err != nil {
			t.Fatal(err)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(fd))
	}
	for _, f := range found {
		data, err := proto.Marshal(protodesc.ToFileDescriptorProto(f))
		if err != nil {
			t.Fatal(err)
		}
		p := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(data, p); err != nil {
			t.Fatal(err)
		}
		set.File = append(set.File, p)
	}
	all, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	for name := range sources {
		f, err := all.FindFileByPath(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// want is what package protodesc makes of a file, but for comments, which generated
// code does not have.
func want(f protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	p := protodesc.ToFileDescriptorProto(f)
	p.SourceCodeInfo = nil
	return p
}

// What is linked into this test and what was written for it, with nothing left out.
func TestFilesAreAsProtodescHasThem(t *testing.T) {
	files := compile(t)
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		files = append(files, f)
		return true
	})
	if len(files) < 10 {
		t.Fatalf("%d files", len(files))
	}
	for _, f := range files {
		if d := cmp.Diff(want(f), describeFile(f), protocmp.Transform()); d != "" {
			t.Errorf("%s: %s", f.Path(), d)
		}
	}
}

// handled are the fields of the messages that describe makes, in the order of their numbers.
var handled = map[proto.Message]string{
	&descriptorpb.FileDescriptorProto{}: "name package dependency message_type enum_type service extension options " +
		"source_code_info public_dependency weak_dependency syntax edition option_dependency",
	&descriptorpb.DescriptorProto{}: "name field nested_type enum_type extension_range extension options oneof_decl " +
		"reserved_range reserved_name visibility",
	&descriptorpb.DescriptorProto_ExtensionRange{}: "start end options",
	&descriptorpb.DescriptorProto_ReservedRange{}:  "start end",
	&descriptorpb.FieldDescriptorProto{}: "name extendee number label type type_name default_value options oneof_index " +
		"json_name proto3_optional",
	&descriptorpb.OneofDescriptorProto{}:                  "name options",
	&descriptorpb.EnumDescriptorProto{}:                   "name value options reserved_range reserved_name visibility",
	&descriptorpb.EnumDescriptorProto_EnumReservedRange{}: "start end",
	&descriptorpb.EnumValueDescriptorProto{}:              "name number options",
	&descriptorpb.ServiceDescriptorProto{}:                "name method options",
	&descriptorpb.MethodDescriptorProto{}:                 "name input_type output_type options client_streaming server_streaming",
}

// Where descriptor.proto gets a field, describe may have to fill it.
func TestNoFieldIsNew(t *testing.T) {
	for m, want := range handled {
		d := m.ProtoReflect().Descriptor()
		var fields []protoreflect.FieldDescriptor
		for i := range d.Fields().Len() {
			fields = append(fields, d.Fields().Get(i))
		}
		slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) })
		var names []string
		for _, f := range fields {
			names = append(names, string(f.Name()))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s has the fields\n%s\nwhere describe handles\n%s", d.FullName(), got, want)
		}
	}
}

// A client can make descriptors of what it is told.
func TestFilesCanBeRead(t *testing.T) {
	for _, f := range compile(t) {
		again, err := protodesc.NewFile(describeFile(f), protoregistry.GlobalFiles)
		if err != nil {
			t.Errorf("%s: %v", f.Path(), err)
			continue
		}
		if d := cmp.Diff(want(f), want(again), protocmp.Transform()); d != "" {
			t.Errorf("%s: %s", f.Path(), d)
		}
	}
}

// The comparison sees when something is left out.
func TestComparisonSeesDifferences(t *testing.T) {
	for _, f := range compile(t) {
		p := describeFile(f)
		p.MessageType[0].Field[0].Number = proto.Int32(77)
		if cmp.Diff(want(f), p, protocmp.Transform()) == "" {
			t.Errorf("%s: a wrong number is not seen", f.Path())
		}
	}
}

func TestDecimal(t *testing.T) {
	for f, want := range map[float64]string{math.Inf(1): "inf", math.Inf(-1): "-inf", 0: "0", 1e300: "1e+300", -0.5: "-0.5"} {
		if got := decimal(f, 64); got != want {
			t.Errorf("%v is %q, want %q", f, got, want)
		}
	}
	if got := decimal(math.NaN(), 32); got != "nan" {
		t.Errorf("NaN is %q", got)
	}
}
