package status

import (
	"cmp"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
)

// serve takes a request to a page through its whole way: guards, page,
// rendering, audit.
func (p *Pages) serve(w http.ResponseWriter, r *http.Request, pg *Page) {
	rec := &recorder{ResponseWriter: w}
	req := &Request{Request: r}
	err := p.admit(rec, req, pg)
	if err == nil {
		req.admitted = true
		err = p.run(rec, req, pg)
	}
	if err != nil && rec.code == 0 {
		p.writeError(rec, r, asError(err, http.StatusInternalServerError))
	}
	if audited(r.Method, pg) {
		p.audit(req, cmp.Or(rec.code, http.StatusOK), err)
	}
}

// run calls the page. A panic in it becomes an error with an opaque ID, whose
// stack is in the log.
func (p *Pages) run(w http.ResponseWriter, r *Request, pg *Page) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler { //nolint:errorlint // net/http compares it in the same way
			panic(v)
		}
		id := rand.Text()[:10]
		p.cfg.Logger.Error("status page panicked", slog.String("path", pg.Path), slog.String("id", id),
			slog.Any("err", v), slog.String("stack", string(debug.Stack())))
		err = Errorf(http.StatusInternalServerError, "the page failed; the log has the reason under the ID %s", id)
	}()
	switch {
	case r.Method == http.MethodPost:
		return p.show(w, r, pg, pg.Post)
	case pg.Raw == nil:
		return p.show(w, r, pg, pg.Get)
	case r.Method == http.MethodHead && pg.Costly:
		return nil
	}
	return pg.Raw(w, r)
}

func (p *Pages) show(w http.ResponseWriter, r *Request, pg *Page, f func(*Request) (View, error)) error {
	form, err := negotiate(r.Request)
	if err != nil {
		return err
	}
	v, err := f(r)
	if err != nil {
		return err
	}
	if v.Title == "" {
		v.Title = pg.Title
	}
	return p.render(w, r.Request, v, form)
}

// writeError answers with an error in the form that was asked for.
func (p *Pages) writeError(w http.ResponseWriter, r *http.Request, e *Error) {
	form, _ := negotiate(r) // of an unknown one it is that which is accepted

	if e.Code == http.StatusUnauthorized { // RFC 9110, 11.6.1
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	v := View{
		Status: e.Code, Title: http.StatusText(e.Code), Plain: e.Text,
		Data: ErrorData{e.Text}, Body: []Block{Text(sentence(e.Text))},
	}
	if form == formHTML && e.Code == http.StatusUnauthorized {
		v.Body = append(v.Body, p.nextStep(r)...)
	}
	switch {
	case e.title == "":
	case form == formHTML:
		v.Title, v.Body = e.title, e.body
	default:
		v.Plain, v.Body = "", append(slices.Clip(e.now), Text(e.Text))
	}
	if err := p.render(w, r, v, form); err != nil {
		p.cfg.Logger.Error("status error page", slog.Any("err", err))
	}
}

// nextStep says what a browser that is nobody can do. It is the same whatever was
// wrong with what the request presented.
func (p *Pages) nextStep(r *http.Request) []Block {
	switch {
	case p.cfg.Certificates:
		return []Block{Text("Import a client certificate of an operator into the browser and open this page again.")}
	case p.cfg.Tokens:
		return []Block{Text("A browser sends no token, so ask with: " + p.curl(r, "", p.ownURL(r, r.URL.Path)))}
	}
	return nil
}

// sentence makes an error's text one that stands by itself.
func sentence(text string) string {
	if text == "" || text[0] < 'a' || text[0] > 'z' {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// asError gives an error that is no [*Error] the code.
func asError(err error, code int) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: code, Text: err.Error()}
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
