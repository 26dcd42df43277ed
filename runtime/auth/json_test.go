package auth

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzObject wants of our parser what encoding/json makes of an object, wherever
// it takes one, and that it takes what has no reason to be refused.
func FuzzObject(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { } `, `{"a":1}`, "\t{\r\n\"a\" : [ 1 , -2.5e+3 , true , false , null , \"x\" ] }", `{"a":{"b":{"c":[[],{}]}}}`, `{"a":"\u0061\"\\\n\ud83d\ude00\ud800"}`,
		`{"\u0061":1,"b,:]}":"{[,:"}`, `{"a":1,"\u0061":2}`, `{"a":[{"b":1,"b":2}]}`, `[]`, `1`, `"a"`, `null`, `{"a":}`, `{"a" 1}`, `{,}`, `{"a":1,}`, `{"a":01}`, `{"a":tru}`, `{"":""}`, `{"é":"\\"}`,
		testClaims(), `{"a":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want map[string]any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		wantErr := d.Decode(&want)
		got, err := parseObject(data)
		switch {
		case err == nil && (wantErr != nil || !reflect.DeepEqual(got, want)):
			t.Errorf("%q: got %v, encoding/json %v, %v", data, got, want, wantErr)
		case err != nil && json.Valid(data) && utf8.Valid(data) && want != nil && !matches(err, "twice") && !matches(err, "deeper") && !matches(err, "values"):
			t.Errorf("%q: got %v, encoding/json %v", data, err, want)
		}
	})
}

// What is valid is read whole, each kind of value.
func TestParseObject(t *testing.T) {
	got, err := parseObject([]byte(" {\n\"a\" :[1,-2.5e+3,true,false,null,\"\",[],{}],\"b,\":\"]}\", \"\\u0063\":\"\\\"\\\\\" } "))
	want := map[string]any{
		"a": []any{json.Number("1"), json.Number("-2.5e+3"), true, false, nil, "", []any{}, map[string]any{}}, "b,": "]}", "c": `"\`,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
