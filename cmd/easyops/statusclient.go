package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/go-easyops/easyops/runtime/auth"
)

// maxAnswer is the most that is read of an answer, in bytes.
const maxAnswer = 4 << 20

// The variables that services take their files from.
const (
	certVariable = "EASYOPS_TLS_CERT"
	keyVariable  = "EASYOPS_TLS_KEY"
	caVariable   = "EASYOPS_TLS_CA"
)

// statusClient asks the status API of servers, with the identity that flags
// name. After open its methods may be called concurrently.
type statusClient struct {
	tokenFile     string
	cert, key, ca string
	service       string // that servers must prove to serve; "" for what the registry says
	plaintext     bool   // also off this machine
	reason        string // for the log of servers

	tokens *auth.FileToken    // nil: without a token
	certs  *auth.Certificates // nil: without TLS
}

const identityHelp = `
Servers answer operators, whom their -easyops.operators names. Say who you are by
--token-file, or by --cert and --key, with --ca for the authorities that verify
the server; these three may stand in ` + certVariable + `, ` + keyVariable + ` and
` + caVariable + ` as well. A server without authenticators needs none: it
answers its own user on the same machine.

With any of the three the connection is TLS, and the server's certificate must
name each service that the registry lists it for (or --service), as clients of
the service demand it; a server that is named by its address must have a
certificate for its host. Without TLS only servers on this machine are asked,
unless --insecure-plaintext, and no token goes further than that. There it goes
to whoever has the port: where etcd lists the address, only with the same flag.`

func (s *statusClient) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.tokenFile, "token-file", "", "`file` with the token that says who asks")
	f.StringVar(&s.cert, "cert", "", "`file` of the certificate that says who asks, PEM")
	f.StringVar(&s.key, "key", "", "`file` of its private key")
	f.StringVar(&s.ca, "ca", "", "`file` of the authorities that verify servers, or system")
	f.StringVar(&s.service, "service", "", "`name` of the service that the certificate must name, in place of what the registry says")
	f.BoolVar(&s.plaintext, "insecure-plaintext", false, "ask servers on other machines without TLS, and without a token; on this one with the token, also where others list them")
	for _, name := range []string{"token-file", "cert", "key", "ca"} {
		_ = c.MarkFlagFilename(name)
	}
}

// reasonFlag is for commands that change something.
func (s *statusClient) reasonFlag(f *pflag.FlagSet) {
	f.StringVar(&s.reason, "reason", "", "`why`, for the log of the servers")
}

// why adds the reason to the query of a change.
func (s *statusClient) why(path string, query url.Values) string {
	if s.reason != "" {
		query = maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		query.Set("reason", s.reason)
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// open reads the files.
func (s *statusClient) open(warn io.Writer) error {
	log := newWarnings(warn)
	if s.service != "" {
		if err := checkService(s.service); err != nil {
			return err
		}
	}
	if s.tokenFile != "" {
		file, err := auth.TokenFile(s.tokenFile, log)
		if err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		s.tokens = file
	}
	files := auth.CertFiles{CA: cmp.Or(s.ca, os.Getenv(caVariable)), Cert: s.cert, Key: s.key}
	if files.Cert == "" && files.Key == "" {
		files.Cert, files.Key = os.Getenv(certVariable), os.Getenv(keyVariable)
	}
	if files == (auth.CertFiles{}) {
		return nil
	}
	certs, err := auth.LoadCertificates(files, log)
	if err != nil {
		return fmt.Errorf("--cert, --key, --ca: %w", err)
	}
	s.certs = certs
	return nil
}

// sign says who asks, by the token if there is one. The file is read again when it
// changes, so that a command may outlive a token.
func (s *statusClient) sign(h http.Header) error {
	if s.tokens == nil {
		return nil
	}
	token, err := s.tokens.Token(context.Background())
	if err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	h.Set("Authorization", "Bearer "+token)
	return nil
}

// conn is a way to one server; close it.
type conn struct {
	*statusClient
	to     *server
	client *http.Client
}

// connect makes one. Nothing is sent yet.
func (s *statusClient) connect(to *server) *conn {
	transport := &http.Transport{
		// Neither a proxy, which would be told who asks, nor HTTP/2.
		DialContext: (&net.Dialer{ControlContext: func(_ context.Context, _, addr string, _ syscall.RawConn) error {
			return s.checkWay(to, addr)
		}}).DialContext,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if s.certs != nil {
		transport.TLSClientConfig = s.tlsConfig(to)
	}
	return &conn{s, to, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *conn) close() { c.client.CloseIdleConnections() }

// tlsConfig wants of a server what its own clients want.
func (s *statusClient) tlsConfig(to *server) *tls.Config {
	if s.service == "" && to.host != "" {
		return s.certs.Client(auth.ServesHost(to.host), tls.VersionTLS12)
	}
	services := to.services
	if s.service != "" {
		services = []string{s.service}
	}
	return s.certs.Client(func(leaf *x509.Certificate) error {
		if len(services) == 0 {
			return errors.New("it is not known which service the server serves")
		}
		for _, name := range services { // any one could be in a stranger's entry
			if err := s.certs.ServesAs(name, "")(leaf); err != nil {
				return err
			}
		}
		return nil
	}, tls.VersionTLS13)
}

// checkWay runs before a connection is made, with the address that a name stands
// for: without TLS nothing is sent to other machines unasked, and no token at all.
// On this machine whoever has the port gets the token: it is not sent unasked
// where others have said which port that is.
func (s *statusClient) checkWay(to *server, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	switch here := err == nil && ip != nil && ip.IsLoopback(); {
	case s.certs != nil:
		return nil
	case here && s.tokens != nil && to.shared && !s.plaintext:
		return plaintextError("the token would go unencrypted to whoever has that port of this machine, and others write to the registry that says so: --ca names the authorities that verify the server by TLS, --insecure-plaintext does without; or name the server by its address")
	case here:
		return nil
	}
	if s.tokens != nil {
		return plaintextError("the token would go to another machine unencrypted: --ca names the authorities that verify the server by TLS")
	}
	if !s.plaintext {
		return plaintextError("it is on another machine, and the connection would not be encrypted: --ca names the authorities that verify it by TLS, --insecure-plaintext does without")
	}
	return nil
}

// base is the URL of the server, without a path.
func (c *conn) base() *url.URL {
	scheme := "http"
	if c.certs != nil {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: c.to.addr}
}

// ask sends a request and reads the answer, which is JSON, into data. Answers
// with one of the codes that are not errors are answers as well.
func (c *conn) ask(ctx context.Context, method, path string, data any, fine ...int) error {
	return c.exchange(ctx, method, path, nil, data, fine...)
}

// post is ask for a change, with the fields of a form.
func (c *conn) post(ctx context.Context, path string, form url.Values, data any, fine ...int) error {
	return c.exchange(ctx, http.MethodPost, path, form, data, fine...)
}

func (c *conn) exchange(ctx context.Context, method, path string, form url.Values, data any, fine ...int) error {
	if c.to.addr == "" {
		return errors.New("it has no status API")
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base().String()+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	if len(form) > 0 {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if err := c.sign(request.Header); err != nil {
		return err
	}
	answer, err := c.client.Do(request)
	if err != nil {
		return c.explain(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return c.explain(err)
	}
	for _, code := range append(fine, http.StatusOK) {
		if answer.StatusCode == code && json.Unmarshal(body, data) == nil {
			return nil
		}
	}
	return c.refusal(answer, body)
}

// within bounds a question to a server.
func (l *lookup) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(l.timeout))
}
