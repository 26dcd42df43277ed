package edge

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// endless writes until that fails, and tells how much was taken.
func endless(taken chan<- int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		total := 0
		for part := make([]byte, 4<<10); ; {
			n, err := w.Write(part)
			if total += n; err != nil {
				taken <- total
				return
			}
		}
	}
}

// Who takes nothing of an answer loses it, by both versions of HTTP, and who is slow or
// has nothing to take does not.
func TestPatience(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		taken := make(chan int, 1)
		mux := http.NewServeMux()
		mux.Handle("/endless", endless(taken))
		mux.HandleFunc("/silent", func(w http.ResponseWriter, _ *http.Request) {
			for range 4 {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(40 * time.Millisecond)
			}
		})
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p := newPatientWriter(w, 50*time.Millisecond)
			defer p.end()
			mux.ServeHTTP(p, r)
		}))
		s.EnableHTTP2 = h2
		s.StartTLS()
		t.Cleanup(s.Close)
		if _, body := get(t, s.Client(), s.URL+"/silent"); body != "xxxx" {
			t.Errorf("of a service that was silent for a while came %q", body)
		}
		resp, err := s.Client().Get(s.URL + "/endless")
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-taken:
		case <-time.After(20 * time.Second):
			t.Error("the answer waits for a client that does not read")
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("the client takes the answer for whole")
		}
		resp.Body.Close()
	}
}

// A write that was ended in time is not held against the next.
func TestPatienceBegins(t *testing.T) {
	p := newPatientWriter(deadlines{}, time.Hour)
	defer p.end()
	p.begin()
	p.cut() // of a timer that fired for the write before
	if !p.waiting {
		t.Error("it was cut")
	}
}

// deadlines is a writer for which no deadline may be set.
type deadlines struct{ http.ResponseWriter }

func (deadlines) SetWriteDeadline(time.Time) error { panic(errors.New("a deadline was set")) }

// Of an answer that the client does not read, the edge keeps little, and not for ever.
func TestUnread(t *testing.T) {
	p := newPlace(t)
	p.certificate("good", "page")
	taken := make(chan int, 1)
	p.behind(nil, easyops.WithTLSFiles(p.dir+"/good.pem", p.dir+"/good.key", p.dir+"/good.pem"), easyops.WithHTTPService("page", "/", endless(taken), everyone))
	const text = "http:\n- {service: page, allow: EVERYONE}\n"
	c := p.config(text, "-easyops.tls-ca="+p.dir+"/good.pem")
	c.Options = append(c.Options, easyops.WithAuthenticator(tokens), easyops.WithTLSFiles("", "", ""), easyops.WithDrainDelay(0))
	e := p.start(c)
	e.table.mu.Lock()
	e.table.config.patience = 300 * time.Millisecond
	e.table.mu.Unlock()
	f, err := routes.Parse("routes.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.table.Set(f); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := (&http.Client{Transport: transport}).Get("http://" + e.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	select {
	case n := <-taken:
		if n > 512<<10 {
			t.Errorf("%d bytes were taken from the service", n)
		}
	case <-time.After(20 * time.Second):
		t.Error("the edge waits for a client that does not read")
	}
}
