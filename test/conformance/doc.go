// Package conformance runs connectrpc.com/conformance, a suite that is not
// gRPC's own, against a server that is started through generated code and
// against grpc-go alone, and compares the two.
package conformance
