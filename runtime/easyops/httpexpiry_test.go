package easyops

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
)

// ticking is a reader that gives a word a second, for as long as it is told.
type ticking int

func (n *ticking) Read(b []byte) (int, error) {
	if *n--; *n < 0 {
		return 0, io.EOF
	}
	time.Sleep(time.Second)
	return copy(b, "word "), nil
}

// An answer lasts no longer than the identity that it is for, however its handler
// writes it, and whether that heeds its context or not.
func TestAnswersEndWithTheIdentity(t *testing.T) {
	var failed error
	handlers := map[string]http.HandlerFunc{
		"heeds its context": func(w http.ResponseWriter, r *http.Request) {
			for range 30 {
				if r.Context().Err() != nil {
					return
				}
				_, _ = w.Write(make([]byte, 64<<10))
				time.Sleep(time.Second)
			}
		},
		"writes on": func(w http.ResponseWriter, _ *http.Request) {
			for range 30 {
				_, failed = w.Write(make([]byte, 64<<10))
				time.Sleep(time.Second)
			}
		},
		"copies": func(w http.ResponseWriter, _ *http.Request) {
			n := ticking(30)
			_, failed = io.Copy(w, &n)
		},
	}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, &funcs{}, WithAuthenticator(byWord), WithHTTP("/tail", handler))
				failed = nil
				if _, body, err := r.fetchAs("/tail", "user.alice"); err != nil || failed != nil {
					t.Errorf("control: %d bytes, %v, %v", len(body), err, failed)
				}
				begun := time.Now()
				if _, body, err := r.fetchAs("/tail", "user.alice.for.9500ms"); err == nil {
					t.Errorf("the answer is whole: %d bytes after %v", len(body), time.Since(begun))
				} else if len(body) > 11*64<<10 {
					t.Errorf("%d bytes", len(body))
				}
				if name != "heeds its context" && !errors.Is(failed, statusExpired.Err()) {
					t.Errorf("writing failed with %v", failed)
				}
			})
		})
	}
}

// Where nothing of the answer was sent, the caller learns why.
func TestAnswersThatAreLate(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithAuthenticator(byWord), WithHTTP("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(30 * time.Second):
			}
		})), WithHTTP("/panic", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				panic(secret)
			case <-time.After(30 * time.Second):
			}
		})))
		wantEqual(t, "control", r.ask("/", "user.alice").code, http.StatusOK)
		begun := time.Now()
		a := r.ask("/", "user.alice.for.10s")
		wantEqual(t, "expired", a.code, http.StatusUnauthorized)
		wantEqual(t, "text", a.body, statusExpired.Message()+"\n")
		wantEqual(t, "challenge", a.header.Get("WWW-Authenticate"), "Bearer")
		wantWithin(t, "the answer", begun, 10*time.Second, 11*time.Second)
		wantEqual(t, "panic", r.ask("/panic", "user.alice.for.10s").code, http.StatusInternalServerError)
		wantEqual(t, "in flight", r.calls.inFlight(), 0)
	})
}

// A connection that a handler has taken over is closed when the identity expires,
// though the handler has returned.
func TestHijackedConnectionsEndWithTheIdentity(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for token, want := range map[string]int{"user.alice.for.10500ms": 10, "user.alice": 20} {
			for _, returns := range []bool{false, true} {
				done := make(chan struct{})
				r := newRig(t, ways[0], &funcs{}, WithAuthenticator(byWord), WithHTTP("GET /ws", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					talk := func() {
						defer close(done)
						defer conn.Close()
						for range 20 {
							time.Sleep(time.Second)
							if _, err := io.WriteString(conn, "word\n"); err != nil {
								return
							}
						}
					}
					if returns {
						go talk()
					} else {
						talk()
					}
				})))
				conn, err := r.lis.Dial()
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: localhost\r\n%s: Bearer %s\r\n\r\n", auth.UserHeader, token)
				begun, words := time.Now(), 0
				for lines := bufio.NewScanner(conn); lines.Scan(); words++ {
					if !bytes.Equal(lines.Bytes(), []byte("word")) {
						t.Errorf("got %q", lines.Text())
					}
				}
				wantEqual(t, token, words, want)
				if want < 20 {
					wantWithin(t, "the end", begun, 10*time.Second, 11*time.Second)
				}
				conn.Close()
				<-done
			}
		}
	})
}
