package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/grpc"
	plaintext "google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	guestbookv1 "github.com/go-easyops/easyops/example/gen/guestbook/v1"
)

// outside is all that comes to the server from other processes.
type outside struct {
	addr     string
	operator string            // its token
	callers  []context.Context // of calls, with the token of a caller each
	conn     *grpc.ClientConn
	http     http.Client
}

func newOutside(addr, operator string, tokens []string) (*outside, error) {
	o := &outside{addr: addr, operator: operator, http: http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableCompression: true}}}
	for _, t := range tokens {
		o.callers = append(o.callers, presenting(t))
	}
	var err error
	o.conn, err = grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(plaintext.NewCredentials()))
	return o, err
}

func (o *outside) close() {
	_ = o.conn.Close()
	o.http.CloseIdleConnections()
}

// call makes so many calls a second until a time has come, by one caller after the
// other. It returns how many that were.
func (o *outside) call(perSecond int, end time.Time) (n int, err error) {
	client := echov1.NewEchoServiceClient(o.conn)
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		now := time.Now()
		if !now.Before(end) {
			return n, nil
		}
		for due := int(now.Sub(begin).Seconds() * float64(perSecond)); n < due; n++ {
			if err := echoOnce(o.callers[n%len(o.callers)], client); err != nil {
				return n, err
			}
		}
	}
}

// each lets every caller call once, so that the server knows all of them, and the
// first one call all other methods, so that there are metrics of these.
func (o *outside) each() error {
	for _, ctx := range o.callers {
		if err := echoOnce(ctx, echov1.NewEchoServiceClient(o.conn)); err != nil {
			return err
		}
	}
	for _, d := range []grpc.ServiceDesc{greeterv1.GreeterService_ServiceDesc, guestbookv1.GuestbookService_ServiceDesc} {
		for _, m := range d.Methods {
			method := "/" + d.ServiceName + "/" + m.MethodName
			if err := o.conn.Invoke(o.callers[0], method, &emptypb.Empty{}, &emptypb.Empty{}); err == nil {
				return fmt.Errorf("%s: it is not there, and answers", method)
			}
		}
	}
	return nil
}

// What Prometheus 3 accepts, and what a browser does.
const (
	scrapeAccepts  = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
	browserAccepts = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
)

// scrape reads the metrics as Prometheus does.
func (o *outside) scrape() error {
	_, err := o.get("/metrics", scrapeAccepts, "gzip")
	return err
}

// liveInterval is how often an open page brings itself up to date.
const liveInterval = 5 // of its reloads

// reload loads the overview as a browser does, with what it links to, and now and
// then once more as the page does by itself.
func (o *outside) reload(n int) error {
	paths := []string{"/internal/", "/internal/style.css", "/internal/live.js", "/internal/icon.svg"}
	if n%liveInterval == 0 {
		paths = append(paths, "/internal/")
	}
	for _, path := range paths {
		if _, err := o.get(path, browserAccepts, "gzip, deflate, br, zstd"); err != nil {
			return err
		}
	}
	return nil
}

// get returns how long an answer is, on the wire.
func (o *outside) get(path, accepts, encodings string) (length int64, err error) {
	r, err := http.NewRequest(http.MethodGet, "http://"+o.addr+path, http.NoBody)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Accept", accepts)
	r.Header.Set("Accept-Encoding", encodings)
	r.Header.Set("Authorization", "Bearer "+o.operator)
	answer, err := o.http.Do(r)
	if err != nil {
		return 0, err
	}
	length, err = io.Copy(io.Discard, answer.Body)
	err = errors.Join(err, answer.Body.Close())
	if answer.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: %s", path, answer.Status))
	}
	return length, err
}

// every does something once a second until a time has come, first after half a
// second: so all stretches of as many seconds have it as often.
func every(end time.Time, do func(n int) error) error {
	for n, at := 0, time.Now().Add(time.Second/2); at.Before(end); n, at = n+1, at.Add(time.Second) {
		time.Sleep(time.Until(at))
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}
