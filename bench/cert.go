package main

import "github.com/go-easyops/easyops/bench/issuer"

// serverName is whom the certificate is for: the servers, and those of their
// callers that have one.
const serverName = "bench.test"

// writeCert writes it and its key into one file. It is its own authority, too.
func writeCert(file string) error { return issuer.WriteCert(file, serverName) }
