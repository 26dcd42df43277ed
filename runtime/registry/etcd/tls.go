package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
)

// loadTLS reads the files.
func (c config) loadTLS() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.ca != "" && c.ca != systemRoots {
		text, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca: %s holds no certificate in PEM", c.ca)
		}
	}
	if c.cert != "" && c.key != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// freshTLS are credentials that read their files for each handshake, so that
// new ones need no restart.
type freshTLS struct {
	credentials.TransportCredentials
	config config
	last   atomic.Pointer[tls.Config] // the last that was good
}

func newFreshTLS(c config) (credentials.TransportCredentials, error) {
	cfg, err := c.loadTLS()
	if err != nil {
		return nil, err
	}
	f := &freshTLS{TransportCredentials: credentials.NewTLS(cfg), config: c}
	f.last.Store(cfg)
	return f, nil
}

// ClientHandshake implements [credentials.TransportCredentials].
func (f *freshTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if cfg, err := f.config.loadTLS(); err == nil {
		f.last.Store(cfg)
	}
	return credentials.NewTLS(f.last.Load()).ClientHandshake(ctx, authority, conn)
}

// Clone implements [credentials.TransportCredentials]. What is cloned here is
// shared: it does not change but by its files.
func (f *freshTLS) Clone() credentials.TransportCredentials { return f }
