// Package easyopsv1 holds the options that easyops reads from .proto files, and
// the file that declares them.
package easyopsv1

import _ "embed"

// SourcePath is the path by which .proto files import the options.
const SourcePath = "easyops/v1/options.proto"

//go:embed options.proto
var source string

// Source returns the text of the .proto file that declares the options, byte
// for byte.
func Source() string { return source }
