// Package interop runs gRPC's own interoperability cases
// (https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md)
// against a server that is started through generated code.
package interop
