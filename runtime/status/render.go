package status

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// form is how a view is shown.
type form string

const (
	formHTML form = "html"
	formJSON form = "json"
	formText form = "text"
)

// negotiate is the form that a request asks for: by ?format=, else a browser
// gets HTML, what accepts JSON gets JSON, and all else text. The form is good for
// the answer to an error, too.
func negotiate(r *http.Request) (form, error) {
	query := r.URL.Query()
	if query.Has("format") {
		switch f := form(query.Get("format")); f {
		case formHTML, formJSON, formText:
			return f, nil
		}
		return accepted(r), Errorf(http.StatusBadRequest, "format=%s is unknown: use html, json or text", visible(query.Get("format")))
	}
	return accepted(r), nil
}

// accepted is the form that a request accepts.
func accepted(r *http.Request) form {
	accept := strings.ToLower(strings.Join(r.Header.Values("Accept"), ","))
	switch {
	case strings.Contains(accept, "text/html"):
		return formHTML
	case strings.Contains(accept, "application/json"):
		return formJSON
	}
	return formText
}

var contentTypes = map[form]string{
	formHTML: "text/html; charset=utf-8",
	formJSON: "application/json",
	formText: "text/plain; charset=utf-8",
}

// render writes a view. It builds the whole answer first, so that a fault in
// it is still an error and never half a page.
func (p *Pages) render(w http.ResponseWriter, r *http.Request, v View, f form) error {
	var body bytes.Buffer
	var err error
	switch f {
	case formHTML:
		err = p.writeHTML(&body, r, v)
	case formJSON:
		err = writeJSON(&body, v.Data)
	default:
		writeText(&body, v)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentTypes[f])
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.Header().Set("Vary", "Accept")
	w.WriteHeader(cmp.Or(v.Status, http.StatusOK))
	_, _ = w.Write(body.Bytes()) // the client's loss
	return nil
}

// writeJSON writes data with the version of the format as its first field.
func writeJSON(w *bytes.Buffer, data any) error {
	if data == nil {
		data = struct{}{}
	}
	b, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("status page data: %w", err)
	}
	rest, ok := bytes.CutPrefix(b, []byte("{"))
	if !ok {
		return errors.New("status page data: it must be a struct or a map")
	}
	whole := []byte(`{"version":1`)
	if !bytes.Equal(rest, []byte("}")) {
		whole = append(whole, ',')
	}
	if err := json.Indent(w, append(whole, rest...), "", "  "); err != nil {
		return fmt.Errorf("status page data: %w", err)
	}
	return w.WriteByte('\n')
}
