package rotation

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// lasting has certificates of these files last that long from now on.
func (f issued) lasting(life string) issued {
	f.args = append(f.args[:len(f.args):len(f.args)], "--ttl="+life)
	return f
}

// end returns when the certificate of the file expires.
func (f issued) end(t *testing.T) time.Time {
	t.Helper()
	block, _ := pem.Decode(read(t, f.cert()))
	if block == nil {
		t.Fatalf("%s holds no certificate", f.cert())
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert.NotAfter
}

// shortLived calls through the lives of several certificates, each of which is
// replaced before it ends: no call fails, so each was shown before the one before
// it expired, which the server would refuse.
func shortLived(t *testing.T) {
	s := newSmall(t)
	short := s.client.lasting("12s")
	s.old.issue(t, short)
	s.start(t, s.server.option())
	client, conn, err := echov1.DialEchoService(s.options()...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		end := short.end(t)
		s.callUntil(t, client, end.Add(-8*time.Second))
		s.old.issue(t, short)
		s.callUntil(t, client, end.Add(time.Second))
	}
	end := short.end(t) // and a control: nothing comes after this one
	s.callUntil(t, client, end.Add(-300*time.Millisecond))
	time.Sleep(time.Until(end.Add(100 * time.Millisecond)))
	if err := callOnce(t, client); status.Code(err) != codes.Unauthenticated {
		t.Errorf("with a certificate that has expired: %v", err)
	}
}

// refusedAfterwards replaces a certificate by one of an authority that the server
// does not know. Calls go on until the old one has expired, and after that when
// the server knows both.
func refusedAfterwards(t *testing.T) {
	s := newSmall(t)
	short := s.client.lasting("12s")
	s.old.issue(t, short)
	s.start(t, s.server.option())
	client, conn, err := echov1.DialEchoService(s.options()...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	end := short.end(t)
	s.callUntil(t, client, time.Now().Add(time.Second))
	s.next.issue(t, s.client)
	s.callUntil(t, client, end.Add(-300*time.Millisecond))
	time.Sleep(time.Until(end.Add(100 * time.Millisecond)))
	if err := callOnce(t, client); status.Code(err) != codes.Unauthenticated {
		t.Errorf("with a certificate that has expired, and one that is not known: %v", err)
	}
	s.server.trust(t, s.old, s.next)
	for until := time.Now().Add(patience); callOnce(t, client) != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("with a certificate that is known now: %v", callOnce(t, client))
		}
	}
}

// callUntil calls until then. No call may fail.
func (s *small) callUntil(t *testing.T, client echov1.EchoServiceClient, then time.Time) {
	t.Helper()
	for time.Now().Before(then) {
		if err := callOnce(t, client); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func callOnce(t *testing.T, client echov1.EchoServiceClient) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return echo(ctx, client)
}
