// Noop is a plugin of protoc that makes nothing: what it takes is what protogen
// does for every plugin that uses it. Bench measures it.
package main

import "google.golang.org/protobuf/compiler/protogen"

func main() {
	protogen.Options{}.Run(func(*protogen.Plugin) error { return nil })
}
