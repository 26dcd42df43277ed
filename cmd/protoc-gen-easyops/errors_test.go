package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// head is the lines 1 to 4 of the .proto files of these tests.
const head = `syntax = "proto3";
package p;
import "easyops/v1/options.proto";
option go_package = "example.com/p";
`

func TestErrors(t *testing.T) {
	tests := []struct {
		name      string
		parameter string
		files     map[string]string
		want      []string // one a line of the error, by their beginnings
	}{
		{
			name:      "unknown options",
			parameter: "pakage=example.com/x,paths=import,annotate_code=true",
			want: []string{
				`unknown plugin option "pakage=example.com/x". The options of the plugin are package=IMPORT_PATH, paths=import, paths=source_relative, module=PREFIX and Mfile.proto=IMPORT_PATH.`,
				`unknown plugin option "annotate_code=true". The options`,
			},
		},
		{name: "unknown path type", parameter: "paths=relative", want: []string{`unknown path type "relative"`}},
		{name: "empty package", parameter: "package=", want: []string{"plugin option package=: the import path is empty"}},
		{name: "package name for path", parameter: "package=echo", want: []string{`plugin option package=echo: "echo" is not an import path: write one such as`}},
		{name: "relative package", parameter: "package=./echo", want: []string{`plugin option package=./echo: "./echo" is not an import path`}},
		{name: "package with slash", parameter: "package=a.b/c/", want: []string{`plugin option package=a.b/c/: "a.b/c/" is not an import path`}},
		{name: "package with space", parameter: "package=a.b/c d", want: []string{`plugin option package=a.b/c d: "a.b/c d" is not an import path`}},
		{name: "package with newline", parameter: "package=a.b/c\nd", want: []string{`plugin option "package=a.b/c\nd" holds a character that cannot be seen`}},
		{name: "mapping with newline", parameter: "Ma.proto=a.b/c\nd", want: []string{`plugin option "Ma.proto=a.b/c\nd" holds a character that cannot be seen`}},
		{name: "package with another alphabet", parameter: "package=example.com/Größe", want: []string{`plugin option package=example.com/Größe: "example.com/Größe" is not an import path: Go does not allow the character 'ö'`}},
		{name: "package with device", parameter: "package=example.com/x/Con.txt", want: []string{`plugin option package=example.com/x/Con.txt: "example.com/x/Con.txt" is not an import path: Go does not allow "Con" there, which is the name of a device on Windows`}},
		{name: "package with short name", parameter: "package=example.com/a~1", want: []string{`plugin option package=example.com/a~1: "example.com/a~1" is not an import path: Go does not allow "a~1" there, which looks like a short name of Windows`}},
		{name: "package with dot", parameter: "package=example.com/x.", want: []string{`plugin option package=example.com/x.: "example.com/x." is not an import path: Go does not allow the dot at the end of "x."`}},
		{name: "package with dash", parameter: "package=example.com/-y", want: []string{`plugin option package=example.com/-y: "example.com/-y" is not an import path: Go does not allow "-" at the beginning of its last part`}},
		{name: "package with vendor", parameter: "package=example.com/vendor/q", want: []string{`plugin option package=example.com/vendor/q: "example.com/vendor/q" is not an import path: Go does not allow packages below a directory vendor`}},
		{name: "package without module", parameter: "package=internal/q", want: []string{`plugin option package=internal/q: "internal/q" is not an import path: write it whole, with the name of its module before internal`}},
		{
			name:      "options twice",
			parameter: "paths=import,package=a.b/c,module=a.b,package=a.b/d,paths=import,Ma.proto=a.b/c,Mb.proto=a.b/c,module=a.b",
			want: []string{
				"plugin options package=a.b/c and package=a.b/d: leave one of them out",
				"plugin options paths=import and paths=import: leave one of them out",
				"plugin options module=a.b and module=a.b: leave one of them out",
			},
		},
		{name: "package with keyword", parameter: "package=a.b/c;func", want: []string{`plugin option package=a.b/c;func: "func" is not the name of a Go package`}},
		{
			name:      "package is that of the messages",
			parameter: "package=example.com/p",
			files:     map[string]string{"a.proto": head + "message M {}\nservice S {}"},
			want:      []string{"a.proto: plugin option package=example.com/p is the Go package of this file's .pb.go: name another"},
		},
		{
			name:      "options in another Go package",
			parameter: "Measyops/v1/options.proto=example.com/gen/easyops/v1",
			files: map[string]string{"a.proto": `syntax = "proto3";
package p;
import "easyops/v1/options.proto";
option go_package = "example.com/p";
service S { option (easyops.v1.service) = { access: { allow: USERS } }; }
`},
			want: []string{"easyops/v1/options.proto: its Go package is example.com/gen/easyops/v1, but the runtime has it in github.com/go-easyops/easyops/proto/easyops/v1"},
		},
		{
			name:      "package of two files of one name",
			parameter: "package=example.com/x",
			files: map[string]string{
				"a/s.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"example.com/a\";\nservice A {}",
				"b/s.proto": "syntax = \"proto3\";\npackage b;\noption go_package = \"example.com/b\";\nservice B {}",
			},
			want: []string{"b/s.proto: its output example.com/x/s_easyops.pb.go is that of a/s.proto as well: give each Go package a package= of its own"},
		},
		{
			name:      "package of two services of one name",
			parameter: "package=example.com/x",
			files: map[string]string{
				"a.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"example.com/a\";\nservice S {}",
				"b.proto": "syntax = \"proto3\";\npackage b;\noption go_package = \"example.com/b\";\n\nservice S {}",
			},
			want: []string{"b.proto:5: service b.S: its Go name StartSServer (by protoc-gen-easyops) is also that of service a.S (a.proto:4): rename one of them, or give each Go package a package= of its own"},
		},
		{
			name:      "package whose names meet an import",
			parameter: "package=example.com/x",
			files:     map[string]string{"a.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"example.com/DialS\";\nservice S {}"},
			want:      []string{"a.proto:4: service a.S: its Go name DialS is that of the import of example.com/DialS"},
		},
		{
			name:      "messages that cannot be imported",
			parameter: "package=example.com/x",
			files: map[string]string{
				"a.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"./a\";\nservice A {}",
				"b.proto": "syntax = \"proto3\";\npackage b;\noption go_package = \"example.com/b;main\";\nservice B {}",
			},
			want: []string{
				"a.proto: go_package: the generated code could not import its messages: \"./a\" is not an import path",
				"b.proto: go_package: the generated code could not import its messages from package main",
			},
		},
		{
			name:      "messages in paths that Go refuses",
			parameter: "package=example.com/x",
			files: map[string]string{
				"a.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"example.com/Größe\";\nservice A {}",
				"b.proto": "syntax = \"proto3\";\npackage b;\noption go_package = \"example.com/~\";\nservice B {}",
				"c.proto": "syntax = \"proto3\";\npackage c;\noption go_package = \"example.com/lpt1\";\nservice C {}",
			},
			want: []string{
				`a.proto: go_package: the generated code could not import its messages: "example.com/Größe" is not an import path: Go does not allow the character 'ö' there`,
				`b.proto: go_package: the generated code could not import its messages: "example.com/~" is not an import path: Go does not allow "~" at`,
				`c.proto: go_package: the generated code could not import its messages: "example.com/lpt1" is not an import path: Go does not allow "lpt1" there`,
			},
		},
		{
			name:      "messages in an internal package",
			parameter: "package=example.com/x",
			files: map[string]string{
				"a.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"example.com/y/internal/a\";\nservice A {}",
				"b.proto": "syntax = \"proto3\";\npackage b;\noption go_package = \"example.com/internal/b\";\nservice B {}",
			},
			want: []string{"a.proto: go_package: the generated code could not import its messages: only packages in example.com/y may import example.com/y/internal/a: " +
				"name one of them by package=, or leave the option out to generate beside the .pb.go"},
		},
		{
			name: "output outside of the directory",
			files: map[string]string{
				"a.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"../p\";\nservice A {}",
				"b.proto": "syntax = \"proto3\";\npackage b;\noption go_package = \"/p\";\nservice B {}",
				"c.proto": "syntax = \"proto3\";\npackage c;\noption go_package = \"./p\";\nservice C {}",
			},
			want: []string{
				"a.proto: its output ../p/a_easyops.pb.go would not lie in the output directory: write go_package, or with paths=source_relative the file's path, without dots or a slash at its beginning",
				"b.proto: its output /p/b_easyops.pb.go would not lie in the output directory",
			},
		},
		{
			name:  "go_package of two lines",
			files: map[string]string{"a.proto": "syntax = \"proto3\";\noption go_package = \"example.com/p\\n//go:build x\";\nservice S {}"},
			want:  []string{`a.proto: go_package: "example.com/p\n//go:build x" holds a character that cannot be seen: correct it`},
		},
		{
			name:      "module that does not fit",
			parameter: "module=example.com/q",
			files:     map[string]string{"a.proto": head + "service S {}"},
			want:      []string{"a.proto: its Go package example.com/p is not in the module that module=example.com/q names: correct go_package or module="},
		},
		{
			name:  "no go_package",
			files: map[string]string{"a.proto": "syntax = \"proto3\";\nservice S {}"},
			want:  []string{`unable to determine Go import path for "a.proto"`, ""},
		},
		{
			name:  "go_package that is no package name",
			files: map[string]string{"a.proto": "syntax = \"proto3\";\noption go_package = \"example.com/p;func\";\nservice S {}"},
			want:  []string{`a.proto: go_package: "func" is not the name of a Go package`},
		},
		{
			name:  "file that Go ignores",
			files: map[string]string{"x/_a.proto": head + "service S {}"},
			want:  []string{`x/_a.proto: Go ignores files whose name begins with "_": rename _a.proto`},
		},
		{
			name:  "file that Go refuses",
			files: map[string]string{"x/-a.proto": head + "service S {}"},
			want:  []string{`x/-a.proto: Go refuses files whose name begins with "-": rename -a.proto`},
		},
		{
			name: "messages with our names",
			files: map[string]string{
				"a.proto": head + "service Echo {}\nmessage DialEcho {}",
				"b.proto": head + "message Start {\n  enum EchoServer { X = 0; }\n}\nmessage BindEchoServer {}",
			},
			want: []string{
				"a.proto:5: service p.Echo: its Go name DialEcho (by protoc-gen-easyops) is also that of message p.DialEcho (a.proto:6): rename one of them, or generate this code into a Go package of its own with the plugin option package=IMPORT_PATH",
				"a.proto:5: service p.Echo: its Go name BindEchoServer (by protoc-gen-easyops) is also that of message p.BindEchoServer (b.proto:8): rename",
			},
		},
		{
			name:  "service with the name of another's function",
			files: map[string]string{"a.proto": head + "service Echo {}\nservice StartEcho {}"},
			want:  []string{"a.proto:6: service p.StartEcho: its Go name StartEchoServer (by protoc-gen-go-grpc) is also that of service p.Echo (a.proto:5): rename one of them, or generate"},
		},
		{
			name:  "names of protoc-gen-go-grpc",
			files: map[string]string{"a.proto": head + "service Echo {}\nmessage EchoClient {}\nenum UnimplementedEchoServer { Y = 0; }"},
			want: []string{
				"a.proto:5: service p.Echo: its Go name UnimplementedEchoServer (by protoc-gen-go-grpc) is also that of enum p.UnimplementedEchoServer (a.proto:7): rename one of them",
				"a.proto:5: service p.Echo: its Go name EchoClient (by protoc-gen-go-grpc) is also that of message p.EchoClient (a.proto:6): rename one of them",
			},
		},
		{
			name:  "services of one Go name",
			files: map[string]string{"a.proto": head + "service echo_er {}\nservice EchoEr {}"},
			want:  []string{"a.proto:6: service p.EchoEr: its Go name StartEchoErServer (by protoc-gen-easyops) is also that of service p.echo_er (a.proto:5): rename"},
		},
		{
			name:  "methods of one Go name",
			files: map[string]string{"a.proto": head + "service S {\n  rpc get_it(M) returns (M);\n  rpc GetIt(M) returns (M);\n}\nmessage M {}"},
			want:  []string{"a.proto:7: method p.S.GetIt: its Go name S_GetIt_FullMethodName (by protoc-gen-go-grpc) is also that of method p.S.get_it (a.proto:6): rename one of them"},
		},
		{
			name: "wrappers and values",
			files: map[string]string{
				"a.proto": head + "service A_B {}\nservice C { rpc D(stream A) returns (A); }\n" +
					"message A { oneof o { string B_ServiceDesc = 1; } }",
				"q.proto": "syntax = \"proto3\";\npackage q;\noption go_package = \"example.com/p\";\nenum C { D_Client = 0; DClient = 1; }",
			},
			want: []string{
				"a.proto:5: service p.A_B: its Go name A_B_ServiceDesc (by protoc-gen-go-grpc) is also that of field p.A.B_ServiceDesc (a.proto:7)",
				"a.proto:6: method p.C.D: its Go name C_DClient (by protoc-gen-go-grpc) is also that of enum value q.DClient (q.proto:4)",
			},
		},
		{
			name: "aliases of a public import",
			files: map[string]string{
				"a.proto": head + "import public \"q.proto\";\nservice Echo {}",
				"q.proto": "syntax = \"proto3\";\npackage q;\noption go_package = \"example.com/q\";\nmessage DialEcho {}",
			},
			want: []string{"a.proto:6: service p.Echo: its Go name DialEcho (by protoc-gen-easyops) is also that of message q.DialEcho (q.proto:4): rename"},
		},
		{
			name: "rules",
			files: map[string]string{"a.proto": head + `service S {
  option (easyops.v1.service) = { access: { allow: EVERYONE groups: "staff" } };
  rpc A(M) returns (M) {
    option idempotency_level = IDEMPOTENT;
    option (easyops.v1.method) = { access: { allow: EVERYONE services: "billing" } };
  }
  rpc B(M) returns (M) { option (easyops.v1.method).access.groups = ""; }
  rpc C(M) returns (M) { option (easyops.v1.method).access = { services: " x" }; }
  rpc D(M) returns (M) { option (easyops.v1.method).access = { allow: SERVICES groups: "staff" }; }
  rpc E(M) returns (M) { option (easyops.v1.method).timeout = {}; }
  rpc F(M) returns (M) { option (easyops.v1.method).timeout.seconds = -1; }
  rpc G(M) returns (M) { option (easyops.v1.method).timeout = { seconds: 1 nanos: -1 }; }
  rpc H(stream M) returns (M) { option (easyops.v1.method).access.groups = "a\nb"; }
  rpc Good(M) returns (M) { option (easyops.v1.method) = { access: { allow: USERS groups: "a b" services: "c" } timeout: { nanos: 1 } }; }
}
message M {}`},
			want: []string{
				"a.proto:6: service p.S: allow: EVERYONE lets in callers without identity",
				"a.proto:9: method p.S.A: allow: EVERYONE lets in callers without identity",
				"a.proto:11: method p.S.B: groups has an empty name",
				`a.proto:12: method p.S.C: services has the name " x"`,
				"a.proto:13: method p.S.D: allow: SERVICES with groups",
				"a.proto:14: method p.S.E: timeout: 0s is not positive",
				"a.proto:15: method p.S.F: timeout: -1s is not positive",
				"a.proto:16: method p.S.G: timeout: 1 seconds and -1 nanos are not a valid duration",
				`a.proto:17: method p.S.H: groups has the name "a\nb"`,
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := compile(t, test.files, test.parameter)
			checkError(t, respond(req), test.want)
		})
	}
}

// Of many faults in a file some are told, and how many more there are. They are
// found in time.
func TestManyErrors(t *testing.T) {
	const methods = 8000
	req := compile(t, map[string]string{
		"a.proto": head + "service S { rpc A(M) returns (M) { option (easyops.v1.method).timeout = {}; } }\nmessage M {}",
		"b.proto": head + "service T { option (easyops.v1.service).access.groups = \"\"; }",
	}, "")
	for _, f := range req.ProtoFile {
		if f.GetName() == "a.proto" {
			repeatMethod(f, methods)
		}
	}
	want := []string{"a.proto:10: method p.S.A: timeout: 0s is not positive"}
	for i := 1; i < most; i++ {
		want = append(want, fmt.Sprintf("a.proto:%d: method p.S.A%d: timeout: 0s is not positive", 10+i, i))
	}
	want = append(want,
		fmt.Sprintf("a.proto: and %d more", methods-most),
		"b.proto:5: service p.T: groups has an empty name")
	checkError(t, inTime(t, req), want)
}

// repeatMethod makes a file's only method many, on lines from 10 on.
func repeatMethod(f *descriptorpb.FileDescriptorProto, times int) {
	s := f.Service[0]
	f.SourceCodeInfo = &descriptorpb.SourceCodeInfo{}
	for i := range times {
		if i > 0 {
			m := proto.CloneOf(s.Method[0])
			m.Name = proto.String(fmt.Sprintf("A%d", i))
			s.Method = append(s.Method, m)
		}
		for _, path := range [][]int32{{6, 0, 2, int32(i)}, {6, 0, 2, int32(i), 4, 51701, 2}} {
			f.SourceCodeInfo.Location = append(f.SourceCodeInfo.Location, &descriptorpb.SourceCodeInfo_Location{
				Path: path, Span: []int32{int32(9 + i), 0, 1},
			})
		}
	}
}

// A request with two files of one path, as no compiler sends it, would have an
// output that depends on their order.
func TestFileTwice(t *testing.T) {
	req := compile(t, map[string]string{"a.proto": head + "service S {}"}, "")
	other := proto.CloneOf(req.ProtoFile[len(req.ProtoFile)-1])
	other.Service[0].Name = proto.String("Other")
	other.Options.GoPackage = proto.String("example.com/\n")
	req.ProtoFile = append(req.ProtoFile, other)
	want := []string{"a.proto: the request has this file twice: run the plugin by buf or protoc"}
	checkError(t, respond(req), want)
	slices.Reverse(req.ProtoFile)
	checkError(t, respond(req), want)
}

// checkError expects an error of these lines, and nothing else but what the
// plugin supports.
func checkError(t *testing.T, resp *pluginpb.CodeGeneratorResponse, want []string) {
	t.Helper()
	if len(resp.File) > 0 || resp.GetSupportedFeatures() == 0 {
		t.Errorf("%d files, features %b", len(resp.File), resp.GetSupportedFeatures())
	}
	lines := strings.Split(resp.GetError(), "\n")
	if want[len(want)-1] == "" { // not our text: only its beginning counts
		want = want[:len(want)-1]
		lines = lines[:len(want)]
	}
	if len(lines) != len(want) {
		t.Fatalf("the error has %d lines, not %d:\n%s", len(lines), len(want), resp.GetError())
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d:\n got %s\nwant %s", i, line, want[i])
		}
	}
}

// Names that look like a collision and are none.
func TestNoCollision(t *testing.T) {
	tests := []struct {
		name, parameter string
		files           map[string]string
	}{
		{"method named like another service", "", map[string]string{
			"a.proto": head + "service Echo { rpc Dial(M) returns (M); }\nservice EchoDial {}\nmessage M {}",
		}},
		{"message in another Go package", "", map[string]string{
			"a.proto": head + "service Echo {}",
			"b.proto": "syntax = \"proto3\";\npackage p;\noption go_package = \"example.com/q\";\nmessage DialEcho {}",
		}},
		{"message beside package=", "package=example.com/q", map[string]string{
			"a.proto": head + "service Echo {}\nmessage DialEcho {}",
		}},
		{"package= that an internal package is open to", "package=example.com/y/z", map[string]string{
			"a.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"example.com/y/internal/a\";\nservice A {}",
			"b.proto": "syntax = \"proto3\";\npackage b;\noption go_package = \"example.com/internals/b\";\nservice B {}",
		}},
		{"package= in the directory of an internal package", "package=example.com/y,paths=source_relative", map[string]string{
			"z/a.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"example.com/y/z/internal/a\";\nservice A {}",
		}},
		{"package= in one directory each", "package=example.com/q,paths=source_relative", map[string]string{
			"a/s.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"example.com/a\";\nservice S {}",
			"b/s.proto": "syntax = \"proto3\";\npackage b;\noption go_package = \"example.com/b\";\nservice S {}",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mustRespond(t, compile(t, test.files, test.parameter))
		})
	}
}

// Where an option has come that this plugin does not know, it may forbid what
// the known ones allow.
func TestOptionsOfANewerVersion(t *testing.T) {
	future := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	allow := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 77)
	access := func(content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), content)
	}
	tests := []struct {
		name    string
		content []byte
		want    string
	}{
		{"field of rules", future, "a.proto:5: service p.S: its ServiceRules option has fields that this plugin does not know"},
		{"field of access", access(future), "a.proto:5: service p.S: its Access option has fields"},
		{"kind of caller", access(allow), "a.proto:5: service p.S: allow: 77 is no value of easyops.v1.Allow"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := compile(t, map[string]string{"a.proto": head + "service S {}"}, "")
			setServiceOption(req, test.content)
			checkError(t, respond(overTheWire(t, req)), []string{test.want})
		})
	}
}

// setServiceOption sets the first service's option to the bytes of a message.
func setServiceOption(req *pluginpb.CodeGeneratorRequest, content []byte) {
	number := easyopsv1.E_Service.TypeDescriptor().Number()
	option := protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), content)
	for _, f := range req.ProtoFile {
		for _, s := range f.Service {
			s.Options = &descriptorpb.ServiceOptions{}
			s.Options.ProtoReflect().SetUnknown(option)
		}
	}
}

// The numbers of the options are free for others to use within their walls.
func TestNumbersOfSomebodyElse(t *testing.T) {
	mustRespond(t, compile(t, map[string]string{
		"other.proto": `syntax = "proto3";
package other;
import "google/protobuf/descriptor.proto";
option go_package = "example.com/other";
message Owner { Team team = 1; }
message Team { int32 id = 1; }
extend google.protobuf.ServiceOptions { Owner owner = 51700; }
`,
		"a.proto": `syntax = "proto3";
package p;
import "other.proto";
option go_package = "example.com/p";
service S { option (other.owner) = { team: { id: 77 } }; }
`,
	}, ""))
}
