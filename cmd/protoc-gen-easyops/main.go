// Protoc-gen-easyops is the plugin of protoc and buf that emits the Go by which
// a service is started and dialled with easyops. It is run by them, not by
// hand:
//
//	# buf.gen.yaml
//	plugins:
//	  - local: protoc-gen-easyops
//	    out: gen
//	    opt: paths=source_relative
//
// For each .proto file with services it writes one file _easyops.pb.go beside
// those of protoc-gen-go and protoc-gen-go-grpc, which it needs.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

const usage = `protoc-gen-easyops is a plugin of buf and protoc, which run it and speak to it
over its standard input. To use it, name it in buf.gen.yaml, beside
protoc-gen-go and protoc-gen-go-grpc:

  - local: protoc-gen-easyops
    out: gen
    opt: paths=source_relative

` + knownOptions + "\n"

// gcPercent is for a process that ends soon, and keeps most of what it makes
// until then: to look for garbage as often as Go does by default takes it a
// seventh of its time, and saves a tenth of its memory.
const gcPercent = 400

func main() {
	if os.Getenv("GOGC") == "" { // nobody has said when
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	switch {
	case len(args) == 0 && isTerminal(stdin):
		fmt.Fprint(stderr, usage)
		return 2
	case len(args) == 0:
		if err := serve(stdin, stdout); err != nil {
			fmt.Fprintf(stderr, "protoc-gen-easyops: %v\n", err)
			return 1
		}
		return 0
	}
	switch args[0] {
	case "-version", "--version":
		fmt.Fprintln(stdout, "protoc-gen-easyops", version())
		return 0
	case "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	}
	fmt.Fprintf(stderr, "protoc-gen-easyops: unknown argument %q\n\n%s", args[0], usage)
	return 2
}

// serve answers one request. What is wrong with the request's files or options
// is part of the answer; an error means that there is none.
func serve(stdin io.Reader, stdout io.Writer) error {
	in, err := io.ReadAll(stdin)
	if err != nil {
		return fmt.Errorf("the request: %w", err)
	}
	resp, err := answer(in)
	if err != nil {
		return fmt.Errorf("the request: %w", err)
	}
	out, err := proto.Marshal(resp)
	if err != nil {
		return fmt.Errorf("the response: %w", err)
	}
	_, err = stdout.Write(out)
	return err
}

// answer responds to a request. Faults are told of the whole of it, with the
// positions that are not needed otherwise.
func answer(in []byte) (*pluginpb.CodeGeneratorResponse, error) {
	req, err := readRequest(in)
	if err != nil {
		return nil, err
	}
	resp := respond(req)
	if resp.Error == nil {
		return resp, nil
	}
	req = &pluginpb.CodeGeneratorRequest{}
	if err := proto.Unmarshal(in, req); err != nil {
		return nil, err
	}
	return respond(req), nil
}

// isTerminal says whether a person sits at the other end.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown version)"
}
