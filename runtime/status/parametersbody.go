package status

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/flags"
)

// readChanges is what a POST wants. Its body names flags with values, its query
// says how.
func readChanges(r *http.Request, set *flags.Set) (flags.Changes, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return flags.Changes{}, fmt.Errorf("the body cannot be read, or has more than %d bytes", maxBody)
	}
	if r.Method == http.MethodPost && strings.HasPrefix(strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Type"))), "application/json") {
		c := flags.Changes{}
		if c.Values, err = jsonValues(body, set); err != nil {
			return c, err
		}
		return c, modify(&c, r.URL.Query())
	}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		values, _ := jsonValues(body, set)
		return flags.Changes{Values: values}, errors.New("the body is JSON and is sent as a form: send it with the header content-type: application/json")
	}
	values, modifiers, err := formValues(body)
	c := flags.Changes{Values: values}
	query := r.URL.Query()
	for name, value := range modifiers {
		if query.Has(name) {
			return c, errors.Join(err, fmt.Errorf("%s is in the query and in the form: leave one out", name))
		}
		query.Set(name, value)
	}
	if len(modifiers) > 0 {
		r.URL.RawQuery = query.Encode() // what else looks at them finds them in one place
	}
	if err != nil {
		return c, err
	}
	return c, modify(&c, query)
}

// modifiers say how flags are changed.
var modifiers = []string{"dry_run", "ttl", "reason"}

// modify reads the modifiers. One that is misspelled must not make a change for
// good of one for a time.
func modify(c *flags.Changes, query url.Values) (err error) {
	for name, values := range query {
		switch {
		case name == "format":
		case !slices.Contains(modifiers, name):
			return fmt.Errorf("?%s is unknown: use %s; flags and their values stand in the body", logged(name), strings.Join(modifiers, ", "))
		case len(values) > 1:
			return fmt.Errorf("?%s is given twice", name)
		}
	}
	if query.Has("ttl") {
		if c.TTL, err = timeToLive(query.Get("ttl")); err != nil {
			return err
		}
	}
	switch v := query.Get("dry_run"); {
	case !query.Has("dry_run"):
	case v == "":
		c.DryRun = true
	default:
		if c.DryRun, err = strconv.ParseBool(v); err != nil {
			return fmt.Errorf("dry_run=%s is not known: write ?dry_run, or nothing", logged(v))
		}
	}
	return nil
}

// timeToLive reads a time in seconds, or as Go writes it.
func timeToLive(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		d, err = time.ParseDuration(text + "s")
	}
	if err != nil || d < flags.MinTTL || d > flags.MaxTTL {
		return 0, fmt.Errorf("ttl=%s is no such time: write seconds, or a time like 5m, from %v to %v", logged(text), flags.MinTTL, flags.MaxTTL)
	}
	return d, nil
}

// formValues reads a form. Fields that begin with "-" are modifiers: that is how
// the forms of the page have them, which cannot fill a query.
func formValues(body []byte) (values, modify map[string]string, err error) {
	fields, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, nil, errors.New("the form is malformed: write name=value, with & between several, and escape what is special in URLs (curl --data-urlencode)")
	}
	values, modify = map[string]string{}, map[string]string{}
	for name, v := range fields {
		modifier, ok := strings.CutPrefix(name, "-")
		switch {
		case len(v) > 1:
			if !ok {
				values[name] = strings.Join(v, " and ") // for the log
			}
			err = errors.Join(err, fmt.Errorf("%s is given twice", logged(name)))
		case !ok:
			values[name] = v[0]
		case !slices.Contains(modifiers, modifier):
			err = errors.Join(err, fmt.Errorf("%s is unknown: no flag begins with a dash here", logged(name)))
		case v[0] != "": // a field that was left empty
			modify[modifier] = v[0]
		}
	}
	return values, modify, err
}

// jsonValues reads an object of names and strings, numbers, truth values, or,
// for lists, arrays of them.
func jsonValues(body []byte, set *flags.Set) (map[string]string, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errNoObject
	}
	values := map[string]string{}
	var faults error
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		var v any
		if err != nil || !ok || d.Decode(&v) != nil {
			return values, errNoObject
		}
		text, err := jsonText(v, set, name)
		if err != nil {
			text = rawJSON(v)
		}
		if before, twice := values[name]; twice {
			err, text = errors.New("is given twice"), before+" and "+text
		}
		if err != nil {
			faults = errors.Join(faults, fmt.Errorf("%s: %w", logged(name), err))
		}
		values[name] = text
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return values, errNoObject
	}
	if _, err := d.Token(); err != io.EOF {
		return values, errNoObject
	}
	return values, faults
}

var errNoObject = errors.New(`the body is not a JSON object: write it like {"name": "value", "other": 100}`)

// rawJSON is a value that no flag can have, for the log.
func rawJSON(v any) string {
	b, _ := json.Marshal(v) // it was read from JSON
	return string(b)
}

// jsonText is a value as a flag reads it.
func jsonText(v any, set *flags.Set, name string) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case []any:
		if f, ok := set.Lookup(name); ok && f.Type != "list" {
			return "", errors.New("is not a list, so its value is not an array")
		}
		return jsonList(v, set, name)
	}
	return "", errors.New("must be a string, a number, true or false, or for a list an array")
}

func jsonList(v []any, set *flags.Set, name string) (string, error) {
	list := make([]string, len(v))
	for i, e := range v {
		if _, nested := e.([]any); nested {
			return "", errors.New("is a list of lists: write a list of strings")
		}
		text, err := jsonText(e, set, name)
		if err != nil {
			return "", err
		}
		list[i] = text
	}
	return flags.FormatList(list), nil
}
