package easyops

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
	plaintext "google.golang.org/grpc/credentials/insecure"
)

// systemRoots stands for the system's authorities in place of a file.
const systemRoots = "system"

// serverTLS returns the TLS configuration of a server; nil is plaintext.
func serverTLS(c *config) (*tls.Config, error) {
	if c.tlsConfig != nil {
		return checkTLS(c.tlsConfig.Clone())
	}
	if c.tlsCert == "" && c.tlsKey == "" {
		return nil, nil
	}
	if c.tlsCert == "" || c.tlsKey == "" {
		return nil, errors.New("-easyops.tls-cert and -easyops.tls-key (EASYOPS_TLS_CERT, EASYOPS_TLS_KEY) go together: set both or neither")
	}
	cert, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("-easyops.tls-cert or EASYOPS_TLS_CERT: %q, -easyops.tls-key or EASYOPS_TLS_KEY: %q: %w", c.tlsCert, c.tlsKey, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

// checkTLS finds out now what every handshake would find out later.
func checkTLS(t *tls.Config) (*tls.Config, error) {
	if len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil {
		return nil, errors.New("WithTLSConfig: the configuration has no certificate: set Certificates or GetCertificate")
	}
	if t.MinVersion < tls.VersionTLS12 {
		t.MinVersion = tls.VersionTLS12
	}
	return t, nil
}

// clientCredentials are TLS as soon as anything of TLS is set.
func clientCredentials(c *config) (credentials.TransportCredentials, error) {
	if c.tlsConfig != nil {
		return credentials.NewTLS(c.tlsConfig.Clone()), nil
	}
	if c.tlsCA == "" && c.tlsCert == "" && c.tlsKey == "" {
		return plaintext.NewCredentials(), nil
	}
	roots, err := authorities(c.tlsCA)
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}), nil
}

// authorities reads a file of certificates; nil are the system's.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" || file == systemRoots {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-easyops.tls-ca or EASYOPS_TLS_CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("-easyops.tls-ca or EASYOPS_TLS_CA: %q holds no certificate in PEM form", file)
	}
	return pool, nil
}
