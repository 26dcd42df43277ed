// Package easyops turns the implementation of a gRPC service into a server that
// can be run in production, and finds the servers of others.
//
// Generated code calls it: StartEchoServiceServer calls [Start], DialEchoService
// calls [Dial]. A program needs little more than
//
//	func main() {
//		flag.Parse()
//		easyops.Main(echov1.StartEchoServiceServer(&echo{}))
//	}
//
// A [Server] listens on one port, for gRPC and for the HTTP status pages. It
// lists itself in a registry, and when it is told to stop it goes on serving
// until its clients have learned of it.
package easyops
