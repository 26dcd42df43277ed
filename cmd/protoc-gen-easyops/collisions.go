package main

import (
	"iter"
	"path"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// claim is a Go name that a service needs.
type claim struct {
	desc protoreflect.Descriptor
	maker
	generate bool // whether this request generates it
}

// maker is the plugin that declares a name.
type maker string

const (
	ours  maker = "protoc-gen-easyops"
	grpcs maker = "protoc-gen-go-grpc"
)

// scope is a Go package in which names of services meet others.
type scope struct {
	gen    *protogen.Plugin
	opts   options
	claims map[string]claim
	told   map[[2]protoreflect.FullName]bool
	faults *faults
}

// checkCollisions finds names that would be declared twice in a Go package, as
// far as the request shows the package.
func (list *faults) checkCollisions(gen *protogen.Plugin, opts options) {
	for _, files := range scopes(gen, opts) {
		s := scope{gen, opts, map[string]claim{}, map[[2]protoreflect.FullName]bool{}, list}
		for _, f := range files {
			s.claimServices(f)
		}
		for _, f := range files {
			s.compare(f)
		}
	}
}

// scopes groups files by the Go package into which their services' code goes.
// With paths=source_relative package= stands for a package a directory.
func scopes(gen *protogen.Plugin, opts options) map[string][]*protogen.File {
	key := func(f *protogen.File) string {
		if opts.target != "" {
			return path.Dir(opts.filename(f))
		}
		return string(f.GoImportPath)
	}
	wanted := map[string]bool{}
	for _, f := range generated(gen) {
		wanted[key(f)] = true
	}
	groups := map[string][]*protogen.File{}
	for _, f := range sorted(gen.Files) {
		if k := key(f); wanted[k] && (opts.target == "" || f.Generate) {
			groups[k] = append(groups[k], f)
		}
	}
	return groups
}

// claimServices takes the names of all services of a file.
func (s *scope) claimServices(f *protogen.File) {
	for _, service := range f.Services {
		s.claim(claim{service.Desc, ours, f.Generate}, namesOf(service).emitted())
		if s.opts.target != "" {
			continue // the rest is in another package
		}
		s.claim(claim{service.Desc, grpcs, f.Generate}, grpcNames(service))
		for _, m := range service.Methods {
			s.claim(claim{m.Desc, grpcs, f.Generate}, grpcMethodNames(m))
		}
	}
}

func (s *scope) claim(c claim, names []string) {
	for _, name := range names {
		other, taken := s.claims[name]
		if !taken {
			s.claims[name] = c
			continue
		}
		if c.generate || other.generate {
			s.report(name, c, other.desc, other.maker == ours || c.maker == ours)
		}
	}
}

// compare looks among the names of a file's other declarations for claimed ones.
func (s *scope) compare(f *protogen.File) {
	if s.opts.target != "" {
		name := packageName(string(f.GoImportPath))
		if c, taken := s.claims[name]; taken {
			s.faults.add(placeOf(c.desc), "%s: its Go name %s is that of the import of %s: rename one of them",
				describe(c.desc), name, string(f.GoImportPath))
		}
		return
	}
	for _, source := range s.withAliased(f) {
		for name, desc := range declared(source) {
			if c, taken := s.claims[name]; taken && (c.generate || f.Generate) {
				s.report(name, c, desc, c.maker == ours)
			}
		}
	}
}

// withAliased is a file and those of other Go packages that it imports publicly:
// protoc-gen-go declares aliases for all that is in them.
func (s *scope) withAliased(f *protogen.File) []*protogen.File {
	files := []*protogen.File{f}
	for i := range f.Desc.Imports().Len() {
		imp := f.Desc.Imports().Get(i)
		if source := s.gen.FilesByPath[imp.Path()]; imp.IsPublic && source != nil && source.GoImportPath != f.GoImportPath {
			files = append(files, source)
		}
	}
	return files
}

// report tells of a pair once, however many names it shares.
func (s *scope) report(name string, c claim, other protoreflect.Descriptor, avoidable bool) {
	pair := [2]protoreflect.FullName{c.desc.FullName(), other.FullName()}
	if s.told[pair] {
		return
	}
	s.told[pair] = true
	cure := "rename one of them"
	switch {
	case s.opts.target != "":
		cure += ", or give each Go package a package= of its own"
	case avoidable:
		cure += ", or generate this code into a Go package of its own with the plugin option package=IMPORT_PATH"
	}
	s.faults.add(placeOf(c.desc), "%s: its Go name %s (by %s) is also that of %s (%v): %s",
		describe(c.desc), name, c.maker, describe(other), placeOf(other), cure)
}

// declared are the exported names that protoc-gen-go declares for a file.
func declared(f *protogen.File) iter.Seq2[string, protoreflect.Descriptor] {
	return func(yield func(string, protoreflect.Descriptor) bool) {
		w := walker{yield: yield}
		w.name(f.GoDescriptorIdent.GoName, f.Desc)
		w.enums(f.Enums)
		w.extensions(f.Extensions)
		w.messages(f.Messages)
	}
}

// walker yields names until nobody wants more.
type walker struct {
	yield func(string, protoreflect.Descriptor) bool
	done  bool
}

func (w *walker) name(name string, d protoreflect.Descriptor) {
	w.done = w.done || !w.yield(name, d)
}

func (w *walker) messages(list []*protogen.Message) {
	for _, m := range list {
		if m.Desc.IsMapEntry() {
			continue
		}
		w.name(m.GoIdent.GoName, m.Desc)
		w.name(m.GoIdent.GoName+"_builder", m.Desc)
		w.fields(m)
		w.enums(m.Enums)
		w.extensions(m.Extensions)
		w.messages(m.Messages)
	}
}

// fields yields the wrappers of oneofs, or the constants that the opaque API has
// in their place, and the constants of defaults.
func (w *walker) fields(m *protogen.Message) {
	for _, o := range m.Oneofs {
		w.name(o.GoIdent.GoName+"_not_set_case", o.Desc)
	}
	for _, f := range m.Fields {
		if f.Oneof != nil && !f.Oneof.Desc.IsSynthetic() {
			w.name(f.GoIdent.GoName, f.Desc)
			w.name(m.GoIdent.GoName+"_"+f.GoName+"_case", f.Desc)
		}
		if f.Desc.HasDefault() {
			w.name("Default_"+m.GoIdent.GoName+"_"+f.GoName, f.Desc)
		}
	}
}

func (w *walker) enums(list []*protogen.Enum) {
	for _, e := range list {
		w.name(e.GoIdent.GoName, e.Desc)
		w.name(e.GoIdent.GoName+"_name", e.Desc)
		w.name(e.GoIdent.GoName+"_value", e.Desc)
		for _, v := range e.Values {
			w.name(v.GoIdent.GoName, v.Desc)
			w.name(v.PrefixedAlias.GoName, v.Desc)
		}
	}
}

func (w *walker) extensions(list []*protogen.Extension) {
	for _, x := range list {
		w.name("E_"+x.GoIdent.GoName, x.Desc)
	}
}
