package reflection

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// defaultOf is the default of a field as descriptor.proto spells it (its comment on
// default_value), or nil.
func defaultOf(f protoreflect.FieldDescriptor) *string {
	if !f.HasDefault() {
		return nil
	}
	v, s := f.Default(), ""
	switch f.Kind() {
	case protoreflect.EnumKind:
		s = string(f.DefaultEnumValue().Name())
	case protoreflect.FloatKind:
		s = decimal(v.Float(), 32)
	case protoreflect.DoubleKind:
		s = decimal(v.Float(), 64)
	case protoreflect.BytesKind:
		s = escape(v.Bytes())
	default:
		s = v.String()
	}
	return &s
}

func decimal(f float64, bits int) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'g', -1, bits)), "+") // inf, -inf, nan
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

// escape is the escaping of C.
func escape(data []byte) string {
	var s strings.Builder
	for _, c := range data {
		switch i := strings.IndexByte("\n\r\t\"'\\", c); {
		case i >= 0:
			s.WriteString(`\` + `nrt"'\`[i:i+1])
		case ' ' <= c && c <= '~':
			s.WriteByte(c)
		default:
			fmt.Fprintf(&s, `\%03o`, c)
		}
	}
	return s.String()
}
