package easyops

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The time that a client has is not saved up: who has sent much at once is not silent
// for longer than others, and a handler that sets a deadline has its own.
func TestSilentBodies(t *testing.T) {
	for name, test := range map[string]struct {
		sent  int
		own   time.Duration // the handler's
		least time.Duration
	}{
		"nothing":                {0, 0, 10 * time.Second},
		"a MiB":                  {1 << 20, 0, 10 * time.Second},
		"the handler's deadline": {1 << 10, 3 * time.Second, 3 * time.Second},
		"a later one":            {1 << 10, time.Minute, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				took := make(chan time.Duration, 1)
				routes := newTable(nil)
				routes.routes["read"] = &Route{Name: "read", HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					begun := time.Now()
					if test.own > 0 {
						if err := http.NewResponseController(w).SetReadDeadline(begun.Add(test.own)); err != nil {
							t.Error(err)
						}
					}
					n, err := io.Copy(io.Discard, r.Body)
					if err == nil || n != int64(test.sent) {
						t.Errorf("read %d, %v", n, err)
					}
					took <- time.Since(begun)
				})}
				r := newRig(t, w, &funcs{}, WithProxy(routes))
				body := io.MultiReader(bytes.NewReader(make([]byte, test.sent)), &slowBody{1, 1, time.Hour})
				resp, err := r.httpClient().Post(map[bool]string{false: "http", true: "https"}[w.viaH2]+"://localhost/read", "text/plain", body)
				if err == nil {
					resp.Body.Close()
				}
				if d := receives(t, "the handler", took); d < test.least || d > test.least+time.Second {
					t.Errorf("it was silent for %v", d)
				}
				time.Sleep(time.Hour) // until the body has been given up
			})
		})
	}
}

// deadlines counts those that are set.
type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// A body that comes is not held up by deadlines, of which each takes as long as a read.
func TestBodiesThatComeSetNoDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := &deadlines{ResponseWriter: httptest.NewRecorder()}
		r := &response{ResponseWriter: d, call: &call{extra: &extra{}}}
		req := httptest.NewRequest(http.MethodPost, "/", &slowBody{1000, 1024, time.Second})
		body := r.await(req, 10*time.Second)
		for range 500 {
			if _, err := req.Body.Read(make([]byte, 1024)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour) // the handler's time
		wantEqual(t, "while the body comes", fmt.Sprint(d.set), fmt.Sprint([]time.Time{{}}))
		body.end()
		wantEqual(t, "after the handler", len(d.set), 2)
		wantEqual(t, "for the rest", time.Until(d.set[1]), 10*time.Second)
		for err := error(nil); err == nil; { // a transport goes on
			_, err = req.Body.Read(make([]byte, 1024))
		}
		body.end()
		wantEqual(t, "what comes after", len(d.set), 2)
	})
}

// A connection that was taken over is the handler's, though its request had a body.
func TestUpgradesWithABody(t *testing.T) {
	for _, body := range []string{"", "x", "all of it"} {
		inBubble(t, func(t *testing.T) {
			got, routes := make(chan string, 1), newTable(nil)
			routes.routes["up"] = &Route{Name: "up", HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if len(body) > 1 {
					_, _ = io.ReadFull(r.Body, make([]byte, 1)) // and not the rest
				}
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				go func() {
					defer conn.Close()
					_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
					b, err := io.ReadAll(rw)
					got <- fmt.Sprint(string(b), err)
				}()
			})}
			r := newRig(t, ways[0], &funcs{}, WithProxy(routes))
			conn, err := r.lis.Dial()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST /up HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			time.Sleep(time.Hour)
			_, _ = io.WriteString(conn, "an hour later")
			time.Sleep(time.Second)
			_ = conn.Close()
			if s := receives(t, "what it read", got); !strings.HasSuffix(s, "an hour later<nil>") {
				t.Errorf("body %q: it read %q", body, s)
			}
		})
	}
}
