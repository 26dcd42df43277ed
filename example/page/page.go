package main

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	guestbookv1 "github.com/go-easyops/easyops/example/gen/guestbook/v1"
)

const (
	pagePath = "/guestbook/"
	maxForm  = 16 << 10 // bytes: each of the text's may be escaped by three
)

//go:embed page.html style.css
var files embed.FS

// page is the handler of the form. It escapes what guests say, keeps what they have
// typed where it was refused, and answers what was accepted with a redirect, so that
// nothing is sent twice by loading the page again.
type page struct {
	book guestbookv1.GuestbookServiceServer
	html *template.Template
	log  *slog.Logger
}

// newPage refuses forms that the pages of other sites send. What is for everyone gets
// no such check by itself.
func newPage(book guestbookv1.GuestbookServiceServer, log *slog.Logger) http.Handler {
	p := &page{book, template.Must(template.ParseFS(files, "page.html")), log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pagePath+"{$}", func(w http.ResponseWriter, r *http.Request) { p.show(w, r, http.StatusOK, content{}) })
	mux.HandleFunc("POST "+pagePath+"{$}", p.sign)
	mux.HandleFunc("GET "+pagePath+"style.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "style.css") })
	return http.NewCrossOriginProtection().Handler(mux)
}

// content is what the page shows.
type content struct {
	Path             string
	Entries          []*guestbookv1.Entry
	Error            string
	Name, Text       string // as they were typed
	MaxName, MaxText int
}

func (p *page) show(w http.ResponseWriter, r *http.Request, code int, c content) {
	list, err := p.book.ListEntries(r.Context(), &guestbookv1.ListEntriesRequest{})
	if err != nil {
		p.fail(w, err)
		return
	}
	c.Path, c.Entries, c.MaxName, c.MaxText = pagePath, list.GetEntries(), maxName, maxText
	var b bytes.Buffer
	if err := p.html.Execute(&b, c); err != nil {
		p.fail(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // fails only where the reader has gone
}

// sign calls the service with what the form says.
func (p *page) sign(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.show(w, r, http.StatusBadRequest, content{Error: "the form could not be read: it may be too long"})
		return
	}
	typed := content{Name: r.PostForm.Get("name"), Text: r.PostForm.Get("text")}
	_, err := p.book.Sign(r.Context(), &guestbookv1.SignRequest{Name: typed.Name, Text: typed.Text})
	switch status.Code(err) {
	case codes.OK:
		http.Redirect(w, r, pagePath, http.StatusSeeOther)
	case codes.InvalidArgument:
		typed.Error = status.Convert(err).Message()
		p.show(w, r, http.StatusBadRequest, typed)
	default:
		p.fail(w, err)
	}
}

// fail tells nobody more than that it has failed: the cause is for the log.
func (p *page) fail(w http.ResponseWriter, err error) {
	p.log.Error("guestbook", "err", err)
	http.Error(w, "the guestbook cannot be shown now: try again", http.StatusInternalServerError)
}
