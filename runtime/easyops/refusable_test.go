package easyops_test

import (
	"crypto/tls"
	"io"
	"log"
	"net/http/httptest"
	"testing"

	"github.com/go-easyops/easyops/runtime/easyops"
)

// TestRefusedCertificate: the error says what the server has said, whether a read
// or a write has found out first.
func TestRefusedCertificate(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	certPEM, keyPEM := ca.pairFor(t, dns(echoName))
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	strict := httptest.NewUnstartedServer(nil)
	strict.EnableHTTP2, strict.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	strict.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.client().RootCAs}
	strict.StartTLS()
	defer strict.Close()
	dir := shortDir(t)
	plant(t, dir, strict.Listener.Addr().String())
	wrong, err := tls.X509KeyPair(other.pairFor(t, dns("caller")))
	if err != nil {
		t.Fatal(err)
	}
	stubborn := ca.client() // it shows its certificate to every server
	stubborn.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &wrong, nil }
	cert, key := other.filesFor(t, dns("caller"))
	for name, test := range map[string]struct {
		opt  easyops.DialOption
		want string
	}{
		"none":          {easyops.WithTLSFiles("", "", ca.file), "set -easyops.tls-cert"},
		"of a namesake": {easyops.WithTLSFiles(cert, key, ca.file), "refuses our certificate"},
		"a wrong one":   {easyops.WithTLSConfig(stubborn), "refuses our certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				client := dialEcho(t, apart(easyops.WithRegistry("local:"+dir)), test.opt)
				mustContain(t, noConnection(t, client).Error(), test.want)
			}
		})
	}
}
