//go:build real

// Linked writes a request to a plugin for all files with services that are
// linked into it. The request's options map each file to the Go package that
// registers it, which its go_package is not in every case.
package main

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	out, err := proto.Marshal(request(protoregistry.GlobalFiles))
	if err == nil {
		_, err = os.Stdout.Write(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func request(registry *protoregistry.Files) *pluginpb.CodeGeneratorRequest {
	req := &pluginpb.CodeGeneratorRequest{}
	seen := map[string]bool{}
	var mappings []string
	for _, f := range sorted(registry) {
		add(req, f, seen)
		if f.Services().Len() > 0 {
			req.FileToGenerate = append(req.FileToGenerate, f.Path())
		}
		if p := goPackage(f); p != "" {
			mappings = append(mappings, "M"+f.Path()+"="+p)
		}
	}
	req.Parameter = proto.String(strings.Join(mappings, ","))
	return req
}

func sorted(registry *protoregistry.Files) []protoreflect.FileDescriptor {
	var files []protoreflect.FileDescriptor
	registry.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		files = append(files, f)
		return true
	})
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })
	return files
}

// add adds a file after those that it imports.
func add(req *pluginpb.CodeGeneratorRequest, f protoreflect.FileDescriptor, seen map[string]bool) {
	if seen[f.Path()] {
		return
	}
	seen[f.Path()] = true
	file := protodesc.ToFileDescriptorProto(f)
	for i := range f.Imports().Len() {
		imp := f.Imports().Get(i).FileDescriptor
		if imp.IsPlaceholder() {
			imp = registered(imp.Path())
			file.Dependency[i] = imp.Path()
		}
		add(req, imp, seen)
	}
	req.ProtoFile = append(req.ProtoFile, file)
}

// registered finds the file that another imports by a path other than that
// under which it is registered, which may be without directories.
func registered(path string) protoreflect.FileDescriptor {
	for rest := path; ; {
		f, err := protoregistry.GlobalFiles.FindFileByPath(rest)
		if err == nil {
			return f
		}
		_, shorter, more := strings.Cut(rest, "/")
		if !more {
			panic(fmt.Sprintf("%s is not linked: import its package", path))
		}
		rest = shorter
	}
}

// goPackage is the Go package of the first type of a file. Where the file has
// none and no go_package, it is that of what it imports of its own package.
func goPackage(f protoreflect.FileDescriptor) string {
	switch {
	case f.Messages().Len() > 0:
		if t, err := protoregistry.GlobalTypes.FindMessageByName(f.Messages().Get(0).FullName()); err == nil {
			return reflect.TypeOf(t.Zero().Interface()).Elem().PkgPath()
		}
	case f.Enums().Len() > 0:
		if t, err := protoregistry.GlobalTypes.FindEnumByName(f.Enums().Get(0).FullName()); err == nil {
			return reflect.TypeOf(t.New(0)).PkgPath()
		}
	}
	if p, _, _ := strings.Cut(f.Options().(*descriptorpb.FileOptions).GetGoPackage(), ";"); p != "" {
		return p
	}
	for i := range f.Imports().Len() {
		if imp := f.Imports().Get(i); !imp.IsPlaceholder() && imp.Package() == f.Package() {
			return goPackage(imp)
		}
	}
	return ""
}
