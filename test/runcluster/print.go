package main

import (
	"io"
	"text/template"
)

// whatToTry is printed when everything runs. A test runs each of its commands,
// which are the lines that are indented by two spaces.
var whatToTry = template.Must(template.New("").Parse(`
etcd, three echoes, a greeter that calls them, a page for people, a service that
speaks TCP, and an edge in front of all run until Ctrl-C. From another shell, in
this directory:

  export EASYOPS_REGISTRY={{.URL}}

Who is there, in whose words, and how each of them does:

  {{.Bin}}/easyops ls
  {{.Bin}}/easyops status {{.EchoService}}
  (cd test && go tool etcdctl --endpoints={{.Etcd}} get --prefix easyops/)

Call them. No program is told an address but grpcurl, which asks for one:

  {{.Bin}}/echoclient
  (cd test && go tool grpcurl -plaintext -d '{"name":"Ada"}' $(../{{.Bin}}/easyops target {{.GreeterService}}) {{.GreeterService}}/Greet)

All of that through the edge, whose routes are {{.Edge.File}}.
The page is for a browser, too:

  http://{{.Edge.Web}}/guestbook/
  (cd test && go tool grpcurl -plaintext -import-path ../proto -import-path ../example/proto -proto greeter/v1/greeter.proto -d '{"name":"Ada"}' {{.Edge.Web}} {{.GreeterService}}/Greet)
  bash -c 'exec 3<>{{.Edge.Device}}; echo hello >&3; head -n 1 <&3'
  http://{{.Edge.Admin}}/internal/edge

Replace the edge by another one, which takes over its ports, and see that nobody
notices; it runs until Ctrl-C. Then there is none: the same line starts it again.

    {{.Bin}}/easyops edge {{.Edge.File}} --handover={{.Edge.Socket}}

Take an echo out and put it back, and call meanwhile:

  {{.Bin}}/easyops drain {{index .Echo 0}}
  {{.Bin}}/echoclient
  {{.Bin}}/easyops undrain {{index .Echo 0}}

Who calls the echoes, and how that goes; and log more of it for five minutes, at
all three:

  {{.Bin}}/easyops callers {{.EchoService}}
  {{.Bin}}/easyops flags set -y --service {{.EchoService}} easyops.log-level=debug --ttl 5m
  {{.Bin}}/easyops flags {{.EchoService}} --changed

Kill one. Calls go elsewhere at once, its entry goes within 10 s:

  kill -9 {{.Pid}}
  {{.Bin}}/echoclient
  {{.Bin}}/easyops ls {{.EchoService}}

Pages for a browser: how the greeter does, and which echoes it calls. The same
of a server on another machine are shown by "easyops open".

  http://{{index .Greeter 0}}/internal/
  http://{{index .Greeter 0}}/internal/service-info/grpc-connections

`))

// printWhatToTry takes the addresses of each service and the ID of the process
// of an echo.
func printWhatToTry(w io.Writer, bin, url, etcd string, listed map[string][]string, front *edge, pid int) error {
	terminal.Lock()
	defer terminal.Unlock()
	return whatToTry.Execute(w, map[string]any{
		"Bin": bin, "URL": url, "Etcd": etcd,
		"EchoService": echoService, "GreeterService": greeterService,
		"Echo": listed[echoService], "Greeter": listed[greeterService], "Pid": pid, "Edge": front,
	})
}
