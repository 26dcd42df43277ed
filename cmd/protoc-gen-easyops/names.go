package main

import (
	"strings"

	"google.golang.org/protobuf/compiler/protogen"

	"github.com/go-easyops/easyops/templates"
)

const runtimePackage = protogen.GoImportPath("github.com/go-easyops/easyops/runtime/easyops")

// names are all names of package level that a service stands for in Go: those
// that we emit, and those of protoc-gen-go-grpc.
type names struct {
	// Emitted here.
	Start, Bind, Dial string

	// Emitted by protoc-gen-go-grpc, and used here.
	Server, Register, Client, NewClient string
}

func namesOf(s *protogen.Service) names {
	n := s.GoName
	return names{
		Start: "Start" + n + "Server",
		Bind:  "Bind" + n + "Server",
		Dial:  "Dial" + n,

		Server:    n + "Server",
		Register:  "Register" + n + "Server",
		Client:    n + "Client",
		NewClient: "New" + n + "Client",
	}
}

// emitted are the names that we declare.
func (n names) emitted() []string { return []string{n.Start, n.Bind, n.Dial} }

// grpcNames are the names that protoc-gen-go-grpc declares for a service
// without its methods.
func grpcNames(s *protogen.Service) []string {
	n := s.GoName
	return []string{
		n + "Server", n + "Client", "New" + n + "Client", "Register" + n + "Server",
		"Unimplemented" + n + "Server", "Unsafe" + n + "Server",
		n + "_ServiceDesc", strings.ToLower(n[:1]) + n[1:] + "Client",
	}
}

// grpcMethodNames are the names that protoc-gen-go-grpc declares for a method.
func grpcMethodNames(m *protogen.Method) []string {
	n := m.Parent.GoName + "_" + m.GoName
	list := []string{n + "_FullMethodName", "_" + n + "_Handler"}
	if m.Desc.IsStreamingClient() || m.Desc.IsStreamingServer() {
		list = append(list, n+"Client", n+"Server")
	}
	return list
}

// qualifier writes identifiers as they stand in one generated file, and so
// imports the packages that they are of.
type qualifier struct {
	g  *protogen.GeneratedFile
	pb protogen.GoImportPath
}

// runtime qualifies the names of the runtime. It comes before pbName: the first
// package of a name keeps it.
func (q qualifier) runtime() templates.Runtime {
	name := func(s string) string { return q.g.QualifiedGoIdent(runtimePackage.Ident(s)) }
	return templates.Runtime{
		Version:      name("GeneratedCodeVersion1"),
		Service:      name("Service"),
		Bind:         name("Bind"),
		Comments:     name("Comments"),
		Start:        name("Start"),
		Main:         name("Main"),
		Server:       name("Server"),
		ServerOption: name("ServerOption"),
		Dial:         name("Dial"),
		Conn:         name("Conn"),
		DialOption:   name("DialOption"),
	}
}

// pbName qualifies a name of the package of the .pb.go files.
func (q qualifier) pbName(s string) string { return q.g.QualifiedGoIdent(q.pb.Ident(s)) }

// locals are names for parameters and variables that hide no import.
func (q qualifier) locals() templates.Local {
	pkg, _, _ := strings.Cut(q.pbName("X"), ".")
	free := func(name string) string {
		if name == pkg {
			return name + "_"
		}
		return name
	}
	return templates.Local{Impl: free("impl"), Opts: free("opts"), Conn: free("conn"), Err: free("err")}
}
