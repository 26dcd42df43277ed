package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// hidden is what is wrong with an unreadable name.
const hidden = "a character that cannot be seen"

// checkNames finds what protogen would take without a word: files of which only
// one would count, and names with characters that nobody sees, of which some
// would be in its errors and ours.
func checkNames(req *pluginpb.CodeGeneratorRequest) error {
	var found faults
	seen := map[string]bool{}
	for _, f := range req.ProtoFile {
		if seen[f.GetName()] {
			found.add(place{file: f.GetName()}, "the request has this file twice: run the plugin by buf or protoc, which send each once")
		}
		seen[f.GetName()] = true
	}
	if len(found) > 0 {
		return found.err()
	}
	for _, f := range req.ProtoFile {
		if name := f.GetOptions().GetGoPackage(); unreadable(name) {
			found.add(place{file: f.GetName()}, "go_package: %q holds "+hidden+": correct it", name)
		}
	}
	for _, name := range req.FileToGenerate {
		seen[name] = true
	}
	for name := range seen {
		if unreadable(name) {
			found.add(place{file: name}, "its path holds "+hidden+": rename it")
		}
	}
	return found.err()
}

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

// most is how many faults of one file are told.
const most = 20

// err is the faults in the order of their places, a line each.
func (list faults) err() error {
	slices.SortStableFunc(list, func(a, b fault) int {
		return cmp.Or(strings.Compare(a.place.file, b.place.file), cmp.Compare(a.place.line, b.place.line))
	})
	var errs []error
	for len(list) > 0 {
		file := list[0].place.file
		n := slices.IndexFunc(list, func(f fault) bool { return f.place.file != file })
		if n < 0 {
			n = len(list)
		}
		for _, f := range list[:min(n, most)] {
			errs = append(errs, fmt.Errorf("%v: %s", f.place, f.text))
		}
		if n > most {
			errs = append(errs, fmt.Errorf("%v: and %d more", place{file: file}, n-most))
		}
		list = list[n:]
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
	file := p.file
	if unreadable(file) {
		file = strconv.Quote(file)
	}
	if p.line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, p.line)
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
	if p, _ := opts.packageOf(f); opts.module != "" && !within(string(p), opts.module) {
		list.add(at, "its Go package %s is not in the module that module=%s names: correct go_package or module=", string(p), opts.module)
	}
	switch base := path.Base(f.Desc.Path()); {
	case strings.HasPrefix(base, "_") || strings.HasPrefix(base, "."):
		list.add(at, "Go ignores files whose name begins with %q: rename %s", base[:1], base)
	case !safeStart(base):
		list.add(at, "Go refuses files whose name begins with %q: rename %s", base[:1], base)
	}
	if opts.target != "" {
		list.checkImport(f, opts)
	}
}

// checkImport finds packages that the one of package= cannot import.
func (list *faults) checkImport(f *protogen.File, opts options) {
	const cannot = "go_package: the generated code could not import its messages"
	at, pb := placeOf(f.Desc), string(f.GoImportPath)
	root, internal := internalTo(pb)
	if err := checkImportPath(pb); err != nil {
		list.add(at, cannot+": %v", err)
	} else if internal && !within(opts.importer(f), root) {
		list.add(at, cannot+": only packages in %s may import %s: name one of them by package=, "+
			"or leave the option out to generate beside the .pb.go", root, pb)
	}
	if f.GoPackageName == "main" {
		list.add(at, cannot+" from package main")
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

// checkFilenames finds files that would not lie in the output directory, and
// those of which one would overwrite the other.
func (list *faults) checkFilenames(files []*protogen.File, opts options) {
	owners := map[string]*protogen.File{}
	for _, f := range files {
		name := opts.filename(f)
		if !fs.ValidPath(name) {
			list.add(placeOf(f.Desc), "its output %s would not lie in the output directory: "+
				"write go_package, or with paths=source_relative the file's path, without dots or a slash at its beginning", name)
		}
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
