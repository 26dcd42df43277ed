package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/go-easyops/easyops/templates"
)

// respond answers a request. All that is wrong with it is in the error of the
// response, a line each; there are no files then.
func respond(req *pluginpb.CodeGeneratorRequest) *pluginpb.CodeGeneratorResponse {
	resp, err := generate(req)
	if err != nil {
		resp = &pluginpb.CodeGeneratorResponse{Error: proto.String(err.Error())}
	}
	resp.SupportedFeatures = proto.Uint64(uint64(
		pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL |
			pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS))
	resp.MinimumEdition = proto.Int32(int32(descriptorpb.Edition_EDITION_PROTO2))
	resp.MaximumEdition = proto.Int32(int32(descriptorpb.Edition_EDITION_2024))
	return resp
}

func generate(req *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	opts, err := parseOptions(req.GetParameter())
	if err != nil {
		return nil, err
	}
	if err := checkNames(req); err != nil {
		return nil, err
	}
	gen, err := protogen.Options{}.New(req)
	if err != nil {
		return nil, err
	}
	if err := check(gen, opts); err != nil {
		return nil, err
	}
	for _, f := range generated(gen) {
		if err := emit(gen, opts, f); err != nil {
			return nil, err
		}
	}
	resp := gen.Response()
	if resp.Error != nil {
		return nil, errors.New(resp.GetError())
	}
	return resp, nil
}

// generated are the files for which there is output, in the order of their
// paths: that of the request shows in nothing.
func generated(gen *protogen.Plugin) []*protogen.File {
	var files []*protogen.File
	for _, f := range gen.Files {
		if f.Generate && len(f.Services) > 0 {
			files = append(files, f)
		}
	}
	return sorted(files)
}

func sorted(files []*protogen.File) []*protogen.File {
	return slices.SortedFunc(slices.Values(files), func(a, b *protogen.File) int {
		return strings.Compare(a.Desc.Path(), b.Desc.Path())
	})
}

// emit writes the file for one .proto file.
func emit(gen *protogen.Plugin, opts options, f *protogen.File) error {
	importPath, name := opts.packageOf(f)
	g := gen.NewGeneratedFile(opts.filename(f), importPath)
	q := qualifier{g: g, pb: f.GoImportPath}
	view := templates.File{
		Header:     headerComment(f),
		Source:     oneLine(f.Desc.Path()),
		Deprecated: f.Proto.GetOptions().GetDeprecated(),
		Package:    string(name),
		Apart:      opts.target != "",
		Runtime:    q.runtime(),
		Example:    q.pbName(namesOf(f.Services[0]).Server),
	}
	for _, s := range f.Services {
		view.Services = append(view.Services, serviceView(q, s, view.Deprecated))
	}
	if err := templates.Execute(g, view); err != nil {
		return fmt.Errorf("%s: %w", f.Desc.Path(), err)
	}
	return nil
}

func serviceView(q qualifier, s *protogen.Service, fileDeprecated bool) templates.Service {
	n := namesOf(s)
	deprecated := fileDeprecated || s.Desc.Options().(*descriptorpb.ServiceOptions).GetDeprecated()
	comment := commentText(s.Comments, deprecated)
	return templates.Service{
		FullName:    string(s.Desc.FullName()),
		Comment:     comment,
		Deprecation: deprecation(comment),
		Comments:    comments(s, comment),
		Start:       n.Start,
		Bind:        n.Bind,
		Dial:        n.Dial,
		Server:      q.pbName(n.Server),
		Register:    q.pbName(n.Register),
		Client:      q.pbName(n.Client),
		NewClient:   q.pbName(n.NewClient),
		Local:       q.locals(),
	}
}

// comments are those of the service and its methods, as the runtime has them.
func comments(s *protogen.Service, own string) []templates.Comment {
	list := []templates.Comment{{Text: own}}
	for _, m := range s.Methods {
		deprecated := m.Desc.Options().(*descriptorpb.MethodOptions).GetDeprecated()
		list = append(list, templates.Comment{
			Name: string(m.Desc.Name()),
			Text: commentText(m.Comments, deprecated),
		})
	}
	return slices.DeleteFunc(list, func(c templates.Comment) bool { return c.Text == "" })
}
