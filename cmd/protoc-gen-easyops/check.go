package main

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// check finds all that keeps the output from being right, before any is made.
func check(gen *protogen.Plugin, opts options) error {
	var found faults
	files := generated(gen)
	for _, f := range files {
		found.checkFile(f, opts)
	}
	found.checkOptionsPackage(gen)
	found.checkTarget(gen, opts)
	found.checkFilenames(files, opts)
	found.checkCollisions(gen, opts)
	if declaresOptions(gen) {
		for _, f := range files {
			found.checkRules(f)
		}
	}
	return found.err()
}

// fault is one thing that is wrong, and where.
type fault struct {
	place place
	text  string
}

type faults []fault

func (list *faults) add(at place, format string, args ...any) {
	*list = append(*list, fault{at, fmt.Sprintf(format, args...)})
}

// err is the faults in the order of their places, a line each.
func (list faults) err() error {
	slices.SortStableFunc(list, func(a, b fault) int {
		return cmp.Or(strings.Compare(a.place.file, b.place.file), cmp.Compare(a.place.line, b.place.line))
	})
	var errs []error
	for _, f := range list {
		errs = append(errs, fmt.Errorf("%v: %s", f.place, f.text))
	}
	return errors.Join(errs...)
}

// place is a line of a file. Where the compiler did not send positions the line
// is 0.
type place struct {
	file string
	line int
}

func (p place) String() string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

func placeOf(d protoreflect.Descriptor) place {
	f := d.ParentFile()
	return placeIn(f, f.SourceLocations().ByDescriptor(d))
}

func placeIn(f protoreflect.FileDescriptor, loc protoreflect.SourceLocation) place {
	p := place{file: f.Path()}
	if loc.Path != nil {
		p.line = loc.StartLine + 1
	}
	return p
}

// optionPlace is where an option of d is set.
func optionPlace(d protoreflect.Descriptor, option protoreflect.FieldNumber) place {
	locations := d.ParentFile().SourceLocations()
	const options = 3 // the field of the options in ServiceDescriptorProto; 4 in MethodDescriptorProto
	field := int32(options)
	if _, ok := d.(protoreflect.MethodDescriptor); ok {
		field++
	}
	prefix := append(slices.Clone(locations.ByDescriptor(d).Path), field, int32(option))
	for i := range locations.Len() {
		loc := locations.Get(i)
		if len(loc.Path) >= len(prefix) && slices.Equal(loc.Path[:len(prefix)], prefix) {
			return placeIn(d.ParentFile(), loc)
		}
	}
	return placeOf(d)
}

// describe names a declaration for an error, as in "service echo.v1.Echo".
func describe(d protoreflect.Descriptor) string {
	kind := "declaration"
	switch d := d.(type) {
	case protoreflect.MessageDescriptor:
		kind = "message"
	case protoreflect.EnumDescriptor:
		kind = "enum"
	case protoreflect.EnumValueDescriptor:
		kind = "enum value"
	case protoreflect.FieldDescriptor:
		kind = "field"
		if d.IsExtension() {
			kind = "extension"
		}
	case protoreflect.OneofDescriptor:
		kind = "oneof"
	case protoreflect.ServiceDescriptor:
		kind = "service"
	case protoreflect.MethodDescriptor:
		kind = "method"
	case protoreflect.FileDescriptor:
		return "file " + d.Path()
	}
	return kind + " " + string(d.FullName())
}

// checkFile finds names of files and packages that Go would not take.
func (list *faults) checkFile(f *protogen.File, opts options) {
	at := placeOf(f.Desc)
	if name := string(f.GoPackageName); !isPackageName(name) {
		list.add(at, "go_package: %q is not the name of a Go package", name)
	}
	if p, _ := opts.packageOf(f); opts.module != "" && p != protogen.GoImportPath(opts.module) && !strings.HasPrefix(string(p), opts.module+"/") {
		list.add(at, "its Go package %s is not in the module that module=%s names: correct go_package or module=", string(p), opts.module)
	}
	if base := path.Base(f.Desc.Path()); strings.HasPrefix(base, "_") || strings.HasPrefix(base, ".") {
		list.add(at, "Go ignores files whose name begins with %q: rename %s", base[:1], base)
	}
	if opts.target == "" {
		return
	}
	if err := checkImportPath(string(f.GoImportPath)); err != nil {
		list.add(at, "go_package: the generated code could not import its messages: %v", err)
	}
	if f.GoPackageName == "main" {
		list.add(at, "go_package: the generated code could not import its messages from package main")
	}
}

// checkOptionsPackage finds a copy of easyops' options in another Go package
// than the runtime's. Programs with both would panic when they start
// (https://protobuf.dev/reference/go/faq/#namespace-conflict).
func (list *faults) checkOptionsPackage(gen *protogen.Plugin) {
	const want = "github.com/go-easyops/easyops/proto/easyops/v1"
	for _, f := range gen.Files {
		if f.Desc.Path() == easyopsv1.SourcePath && f.GoImportPath != want {
			list.add(placeOf(f.Desc), "its Go package is %s, but the runtime has it in %s, and a program cannot have both: "+
				"keep the go_package of the file; with managed mode, add to buf.gen.yaml: "+
				"managed: disable: - file_option: go_package, path: %s", string(f.GoImportPath), want, path.Dir(easyopsv1.SourcePath))
		}
	}
}

// checkTarget keeps the package of package= apart from those of the .pb.go files.
func (list *faults) checkTarget(gen *protogen.Plugin, opts options) {
	if opts.target == "" {
		return
	}
	for _, f := range sorted(gen.Files) {
		if f.GoImportPath == opts.target {
			list.add(placeOf(f.Desc), "plugin option package=%s is the Go package of this file's .pb.go: "+
				"name another, or leave the option out to generate beside it", string(opts.target))
		}
	}
}

// checkFilenames finds files of which one would overwrite the other.
func (list *faults) checkFilenames(files []*protogen.File, opts options) {
	owners := map[string]*protogen.File{}
	for _, f := range files {
		name := opts.filename(f)
		if other := owners[name]; other != nil {
			list.add(placeOf(f.Desc), "its output %s is that of %s as well: %s", name, other.Desc.Path(), opts.separate())
			continue
		}
		owners[name] = f
	}
}

// separate says how to keep apart what meets in one Go package.
func (o *options) separate() string {
	if o.target != "" {
		return "give each Go package a package= of its own"
	}
	return "rename one of them, or give them different Go packages by go_package"
}
