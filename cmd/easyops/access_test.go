package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// head begins each .proto file of the tests.
const head = `syntax = "proto3";
package shop.v1;
import "easyops/v1/options.proto";
`

// shop has a rule of each kind and origin.
const shop = head + `
message M {}
service Orders {
  option (easyops.v1.service) = { access: { allow: USERS groups: "staff" groups: "ops" } };
  rpc List(M) returns (M);
  rpc Watch(M) returns (stream M) { option (easyops.v1.method) = { timeout: { seconds: 90 } }; }
  rpc Bill(M) returns (M) { option (easyops.v1.method) = { access: { allow: SERVICES services: "billing" } timeout: { nanos: 500000000 } }; }
}
service Login {
  rpc Login(M) returns (M) { option (easyops.v1.method) = { access: { allow: EVERYONE } }; }
  rpc Logout(M) returns (M);
}
`

const shopTable = `METHOD                WHO MAY CALL                FROM     TIMEOUT
shop.v1.Login/Login   EVERYONE                    method   -
shop.v1.Login/Logout  AUTHENTICATED               default  -
shop.v1.Orders/Bill   SERVICES services: billing  method   500ms
shop.v1.Orders/List   USERS groups: staff, ops    service  -
shop.v1.Orders/Watch  USERS groups: staff, ops    service  1m30s
`

// tree writes files below a new directory and makes it the current one.
func tree(t testing.TB, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, filepath.FromSlash(name)), text)
	}
	t.Chdir(dir)
}

// inModules says which directories are modules.
func inModules(paths ...string) string {
	return "version: v2\nmodules:\n  - path: " + strings.Join(paths, "\n  - path: ") + "\n"
}

func TestAccessTable(t *testing.T) {
	tree(t, map[string]string{"shop.proto": shop})
	if diff := cmp.Diff(shopTable, mustCall(t, "access")); diff != "" {
		t.Error(diff)
	}
}

func TestAccessJSON(t *testing.T) {
	tree(t, map[string]string{"shop.proto": shop})
	stdout := mustCall(t, "access", "--format", "json")
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	methods := got["methods"].([]any)
	if got["version"] != 1.0 || len(methods) != 5 {
		t.Fatal(stdout)
	}
	want := map[string]any{
		"service": "shop.v1.Orders", "method": "Bill", "allow": "SERVICES", "groups": []any{}, "services": []any{"billing"},
		"from": "method", "timeout_seconds": 0.5, "file": "shop.proto",
	}
	if diff := cmp.Diff(want, methods[2]); diff != "" {
		t.Error(diff)
	}
}

// TestAccessFindsFiles reads the same methods from trees of many shapes.
func TestAccessFindsFiles(t *testing.T) {
	types := "syntax = \"proto3\";\npackage shop.v1;\nmessage M {}\n"
	split := strings.Replace(shop, "message M {}", `import "types/m.proto";`, 1)
	for _, test := range []struct {
		name  string
		files map[string]string
		args  string
	}{
		{"directory", map[string]string{"a/shop.proto": split, "a/types/m.proto": types}, "a"},
		{"-I", map[string]string{"a/shop.proto": split, "inc/types/m.proto": types}, "-I inc a"},
		{"-I above the path", map[string]string{"a/b/shop.proto": split, "a/types/m.proto": types}, "-I a a/b"},
		{"-I below the path", map[string]string{"a/shop.proto": split, "a/inc/types/m.proto": types}, "a -I a/inc"},
		{"file", map[string]string{"a/shop.proto": split, "a/types/m.proto": types, "a/x.proto": "broken"}, "a/shop.proto"},
		{"files", map[string]string{"a/shop.proto": split, "a/types/m.proto": types}, "a/shop.proto a/types/m.proto"},
		{"overlapping paths", map[string]string{"a/shop.proto": split, "a/types/m.proto": types}, "a . -I a"},
		{"modules", map[string]string{"buf.yaml": inModules("x", "y"), "x/shop.proto": split, "y/types/m.proto": types, "z/x.proto": "broken"}, ""},
		{"part of a module", map[string]string{"buf.yaml": inModules("x", "y"), "x/s/shop.proto": split, "x/x.proto": "broken", "y/types/m.proto": types}, "x/s"},
		{"file of a module", map[string]string{"buf.yaml": inModules("x", "y"), "x/s/shop.proto": split, "x/x.proto": "broken", "y/types/m.proto": types}, "x/s/shop.proto"},
		{"beside the modules", map[string]string{"buf.yaml": inModules("x"), "x/types/m.proto": types, "y/shop.proto": split}, "y"},
		{"buf.yaml without modules", map[string]string{"buf.yaml": "version: v2\n", "s/shop.proto": split, "types/m.proto": types}, "s"},
		{"buf.yaml below", map[string]string{"x/buf.yaml": "version: v1\n", "x/s/shop.proto": split, "x/types/m.proto": types}, ""},
		{"buf.work.yaml", map[string]string{"buf.work.yaml": "version: v1\ndirectories: [x, y]\n", "x/buf.yaml": "version: v1\n", "x/shop.proto": split, "y/types/m.proto": types}, "x"},
		{"v1beta1", map[string]string{"buf.yaml": "version: v1beta1\nbuild:\n  roots: [x, y]\n", "x/shop.proto": split, "y/types/m.proto": types}, ""},
		{"excluded", map[string]string{
			"buf.yaml": "version: v2\nmodules:\n  - path: x\n    excludes: [x/old]\n", "x/shop.proto": split, "x/types/m.proto": types, "x/old/x.proto": "broken",
		}, ""},
		{"not the user's", map[string]string{"shop.proto": split, "types/m.proto": types, "node_modules/x/x.proto": "broken"}, ""},
		{"options in the tree", map[string]string{"shop.proto": shop, easyopsv1.SourcePath: easyopsv1.Source()}, ""},
		{"options in two modules", map[string]string{
			"buf.yaml": inModules("x", "y"), "x/shop.proto": shop,
			"x/" + easyopsv1.SourcePath: easyopsv1.Source(), "y/" + easyopsv1.SourcePath: easyopsv1.Source(),
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree(t, test.files)
			if diff := cmp.Diff(shopTable, mustCall(t, append([]string{"access"}, strings.Fields(test.args)...)...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAccessThroughALink(t *testing.T) {
	tree(t, map[string]string{"a/shop.proto": shop})
	if err := os.Symlink("a", "b"); err != nil {
		t.Skip(err)
	}
	if diff := cmp.Diff(shopTable, mustCall(t, "access", "b")); diff != "" {
		t.Error(diff)
	}
}

// Whatever cannot be told is exit code 2, so that it passes for neither answer.
func TestAccessThatCannotBeTold(t *testing.T) {
	rules := func(method string) string {
		return head + "message M {}\nservice S { rpc A(M) returns (M) { option (easyops.v1.method) = { " + method + " }; } }"
	}
	newer := strings.Replace(easyopsv1.Source(), "repeated string services = 3;", "repeated string services = 3;\n  bool only_on_mondays = 4;", 1)
	for _, test := range []struct {
		name  string
		files map[string]string
		args  string
		says  string
	}{
		{"nothing", nil, "", "holds no .proto files"},
		{"no such path", nil, "nowhere", "nowhere"},
		{"no .proto file", map[string]string{"x.txt": ""}, "x.txt", "x.txt holds no .proto files"},
		{"an excluded path", map[string]string{"buf.yaml": "version: v2\nmodules:\n  - path: .\n    excludes: [y]\n", "y/a.proto": shop}, "y", "y holds no .proto files"},
		{"broken", map[string]string{"x/a.proto": "message {"}, "", "x/a.proto:1:9"},
		{"many faults", map[string]string{"a.proto": shop + strings.Repeat("message A { X y = 1; }\n", 30)}, "", "more"},
		{"no import", map[string]string{"a.proto": `syntax = "proto3"; import "no/such.proto";`}, "", "buf build -o - | easyops access --descriptor-set -"},
		{"options without their import", map[string]string{"a.proto": strings.Replace(shop, `import "easyops/v1/options.proto";`, "", 1)}, "", `import "easyops/v1/options.proto": easyops proto DIR`},
		{"no -I", map[string]string{"a.proto": shop}, "-I nowhere", "nowhere"},
		{"rule without sense", map[string]string{"a.proto": rules(`access: { allow: EVERYONE groups: "x" }`)}, "", "EVERYONE with groups"},
		{"rule of a newer version", map[string]string{"a.proto": rules(`access: { only_on_mondays: true }`), easyopsv1.SourcePath: newer}, "", "update"},
		{"two files of one name", map[string]string{"buf.yaml": inModules("x", "y"), "x/a.proto": shop, "y/a.proto": shop}, "", "a.proto is in"},
		{"two rules", map[string]string{"x/a.proto": rules("access: { allow: USERS }"), "y/a.proto": rules("access: { allow: EVERYONE }")}, "x y", "two rules"},
		{"bad buf.yaml", map[string]string{"buf.yaml": "modules: 7", "a.proto": shop}, "", "buf.yaml"},
		{"format", nil, "--format xml", "table or json"},
		{"set and paths", nil, "--descriptor-set x y", "not both"},
		{"no set", nil, "--descriptor-set nowhere", "nowhere"},
		{"bad set", map[string]string{"x": "\xff\xff"}, "--descriptor-set x", "buf build -o"},
		{"empty set", nil, "--descriptor-set -", "empty"},
		{"one input twice", nil, "--descriptor-set - --against -", "only one"},
		{"--allow-new alone", nil, "--allow-new", "goes with --against"},
		{"--against without a value", nil, "--against --format json", "access: --against has no value"},
		{"unknown flag", nil, "--since x", "help access"},
		{"--against nothing", nil, "--against=", "--against is empty"},
		{"no repository", map[string]string{"a.proto": shop}, "--against main", "git"},
		{"bad JSON", map[string]string{"a.proto": shop, "x": "{"}, "--against x", "x: "},
		{"other JSON", map[string]string{"a.proto": shop, "x": "{}"}, "--against x", "version 1"},
		{"JSON of a newer version", map[string]string{"a.proto": shop, "x": `{"version":2,"methods":[]}`}, "--against x", "version 1"},
		{"unknown rule in JSON", map[string]string{"a.proto": shop, "x": `{"version":1,"methods":[{"allow":"FRIENDS"}]}`}, "--against x", "FRIENDS"},
		{"bad rule in JSON", map[string]string{"a.proto": shop, "x": `{"version":1,"methods":[{"allow":"SERVICES","services":[""]}]}`}, "--against x", "empty name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree(t, test.files)
			t.Setenv("GIT_CEILING_DIRECTORIES", os.TempDir())
			code, stdout, stderr := call(append([]string{"access"}, strings.Fields(test.args)...)...)
			if code != 2 || stdout != "" || !strings.Contains(stderr, test.says) {
				t.Errorf("code %d, %q, %q", code, stdout, stderr)
			}
			if n := strings.Count(stderr, "\n"); n > 15 {
				t.Errorf("%d lines", n)
			}
		})
	}
}

// descriptorSet compiles the file a.proto of the current directory.
func descriptorSet(t testing.TB) *descriptorpb.FileDescriptorSet {
	t.Helper()
	s, err := protoTree{}.sources(".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.compile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(text, set); err != nil {
		t.Fatal(err)
	}
	return set
}

func marshal(t testing.TB, m proto.Message) string {
	t.Helper()
	text, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAccessOfADescriptorSet(t *testing.T) {
	tree(t, map[string]string{"shop.proto": shop})
	set := descriptorSet(t)
	write(t, "set.binpb", marshal(t, set))
	if diff := cmp.Diff(shopTable, mustCall(t, "access", "--descriptor-set", "set.binpb")); diff != "" {
		t.Error(diff)
	}
	code, stdout, stderr := callWith(marshal(t, set), "access", "--descriptor-set", "-")
	if diff := cmp.Diff(shopTable, stdout); code != 0 || diff != "" {
		t.Error(code, stderr, diff)
	}
}

// What buf marks as imported by others is not the user's.
func TestAccessOfAnImage(t *testing.T) {
	tree(t, map[string]string{"shop.proto": shop})
	for marked, rows := range map[bool]int{true: 1, false: 6} {
		set := descriptorSet(t)
		extension := protowire.AppendTag(nil, 2, protowire.BytesType) // a field before it
		extension = protowire.AppendBytes(extension, []byte("x"))
		extension = protowire.AppendTag(extension, 1, protowire.VarintType)
		extension = protowire.AppendVarint(extension, protowire.EncodeBool(marked))
		unknown := protowire.AppendTag(nil, 8042, protowire.BytesType)
		set.File[0].ProtoReflect().SetUnknown(protowire.AppendBytes(unknown, extension))
		write(t, "image", marshal(t, set))
		if stdout := mustCall(t, "access", "--descriptor-set", "image"); strings.Count(stdout, "\n") != rows {
			t.Errorf("marked %v: %s", marked, stdout)
		}
	}
}

func TestNamesAreTextInTables(t *testing.T) {
	tree(t, map[string]string{"a.proto": strings.ReplaceAll(shop, `"billing"`, `"a\n::error::\x1b[1m\u202e\tb"`)})
	stdout := mustCall(t, "access")
	if !strings.Contains(stdout, `services: a\n::error::\x1b[1m\u202e\tb `) || strings.Count(stdout, "\n") != 6 {
		t.Errorf("%q", stdout)
	}
}
