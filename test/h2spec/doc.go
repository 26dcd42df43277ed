// Package h2spec runs h2spec, a suite for servers of HTTP/2, against a server
// of this module, against grpc-go alone and against net/http, and compares
// them.
package h2spec
