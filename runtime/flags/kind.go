package flags

import (
	"encoding/csv"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Kind is what a flag can hold. A list is written as one line of CSV (RFC 4180):
// a,b,"c,d".
type Kind interface {
	bool | int | float64 | string | time.Duration | []string
}

// kindOf names a kind for operators.
func kindOf(v any) string {
	switch v.(type) {
	case bool:
		return "bool"
	case int:
		return "int"
	case float64:
		return "float"
	case time.Duration:
		return "duration"
	case []string:
		return "list"
	}
	return "string"
}

// parse reads a value of a kind. Its errors do not repeat the text, which may be
// secret.
func parse[T Kind](text string) (v T, err error) {
	switch p := any(&v).(type) {
	case *bool:
		*p, err = strconv.ParseBool(text)
		err = instead(err, "not a truth value: write true or false")
	case *int:
		var n int64
		n, err = strconv.ParseInt(text, 0, strconv.IntSize)
		*p, err = int(n), instead(err, "not a whole number: write it like 42")
	case *float64:
		if *p, err = strconv.ParseFloat(text, 64); math.IsNaN(*p) {
			err = strconv.ErrSyntax
		}
		err = instead(err, "not a number: write it like 0.5")
	case *time.Duration:
		*p, err = time.ParseDuration(text)
		err = instead(err, "not a duration: write it like 2s or 500ms")
	case *string:
		*p = text
	case *[]string:
		*p, err = parseList(text)
	}
	return v, err
}

// instead says what to write in place of a parser's error, which quotes its input.
func instead(err error, text string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		return errors.New("too great or too small")
	}
	return errors.New(text)
}

func parseList(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	if err != nil || len(lines) != 1 {
		return nil, errors.New(`not a list: write it like a,b,c, and what has a comma or a quote in it like "a,b"`)
	}
	return lines[0], nil
}

// format is the text of a value: what parse makes the value of.
func format(v any) string {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Duration:
		return v.String()
	case []string:
		return FormatList(v)
	}
	return v.(string)
}

// FormatList is the text of a list, as flags of lists are written.
func FormatList(list []string) string {
	if len(list) == 1 && list[0] == "" {
		return `""` // csv writes nothing, which is an empty list
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(list) // a Builder takes all
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}
