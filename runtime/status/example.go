package status

import (
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Examples are bounded, so that they stay something to begin with.
const (
	exampleFields = 6
	exampleDepth  = 2
)

// wellKnown are the JSON forms of the messages whose form is not that of
// their fields (https://protobuf.dev/programming-guides/json).
var wellKnown = map[protoreflect.FullName]string{
	"google.protobuf.Any":         `{}`,
	"google.protobuf.Duration":    `"1s"`,
	"google.protobuf.Timestamp":   `"2030-01-01T00:00:00Z"`,
	"google.protobuf.FieldMask":   `""`,
	"google.protobuf.Struct":      `{}`,
	"google.protobuf.Value":       `null`,
	"google.protobuf.ListValue":   `[]`,
	"google.protobuf.Empty":       `{}`,
	"google.protobuf.StringValue": `"text"`,
	"google.protobuf.BytesValue":  `""`,
	"google.protobuf.BoolValue":   `false`,
	"google.protobuf.Int32Value":  `1`,
	"google.protobuf.Int64Value":  `"1"`,
	"google.protobuf.UInt32Value": `1`,
	"google.protobuf.UInt64Value": `"1"`,
	"google.protobuf.FloatValue":  `1`,
	"google.protobuf.DoubleValue": `1`,
}

// example is a message in protobuf's JSON, with a value for each of its first
// fields and one member of each oneof.
func example(md protoreflect.MessageDescriptor) string { return exampleMessage(md, exampleDepth) }

func exampleMessage(md protoreflect.MessageDescriptor, depth int) string {
	if s, ok := wellKnown[md.FullName()]; ok {
		return s
	}
	if depth == 0 {
		return "{}"
	}
	var parts []string
	oneofs := map[protoreflect.FullName]bool{}
	for i := 0; i < md.Fields().Len() && len(parts) < exampleFields; i++ {
		fd := md.Fields().Get(i)
		if o := fd.ContainingOneof(); o != nil {
			if oneofs[o.FullName()] {
				continue
			}
			oneofs[o.FullName()] = true
		}
		parts = append(parts, `"`+string(fd.Name())+`":`+exampleField(fd, depth))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func exampleField(fd protoreflect.FieldDescriptor, depth int) string {
	switch {
	case fd.IsMap():
		return "{}"
	case fd.IsList():
		return "[" + exampleValue(fd, depth) + "]"
	}
	return exampleValue(fd, depth)
}

func exampleValue(fd protoreflect.FieldDescriptor, depth int) string {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return exampleMessage(fd.Message(), depth-1)
	case protoreflect.EnumKind:
		b, _ := json.Marshal(string(fd.Enum().Values().Get(0).Name())) // a string always marshals
		return string(b)
	case protoreflect.StringKind:
		return `"text"`
	case protoreflect.BytesKind:
		return `""`
	case protoreflect.BoolKind:
		return "false"
	}
	return "1"
}
