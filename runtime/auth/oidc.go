package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	fetchTimeout  = 5 * time.Second  // of discovery and keys together
	fetchInterval = 15 * time.Second // the least between the end of a fetch and the next
	maxWaiting    = 64               // calls that wait for a fetch
	maxRedirects  = 3
	keysTTL       = time.Hour // the most between two fetches, once there was one
	minKeysTTL    = time.Minute
)

// provider is the [keySource] of "oidc:": the keys of an OpenID provider. They
// are fetched when first needed, when a token names an unknown one, and every
// hour or as often as the provider asks for, but never again within
// fetchInterval. While the provider is away, the last keys stay in force. Anyone
// can make calls wait for a slow one, so that few do.
type provider struct {
	*keyring
	issuer *url.URL
	client *http.Client

	mu     sync.Mutex
	flight *flight   // what is going on; nil for nothing
	last   time.Time // when the last fetch ended
	due    time.Time // when the keys are to be fetched again; zero until they were
	closed bool
}

// flight is a fetch that several may wait for.
type flight struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // may be read when done is closed

	waiting int // calls; locked by the provider
}

func newOIDC(issuer string, transport http.RoundTripper, log *slog.Logger) (*provider, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// What is wrong with it may be in its password, and is not quoted.
		return nil, errors.New("the issuer is no URL with a host and at most a path")
	}
	if transport == nil {
		// Connections are not kept for the hour until the next fetch.
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 32 << 10}
	}
	p := &provider{keyring: newKeyring(issuer, log), issuer: u}
	p.client = &http.Client{Transport: transport, CheckRedirect: p.checkRedirect}
	return p, p.checkURL(u)
}

// checkURL refuses addresses that anyone between here and there could answer
// for. Only an issuer on loopback itself may do without TLS.
func (p *provider) checkURL(u *url.URL) error {
	if u.Scheme == "https" && u.Host != "" {
		return nil
	}
	if u.Scheme == "http" && p.issuer.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s: https is required, except on loopback", u.Redacted())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (p *provider) checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("too many redirects")
	}
	return p.checkURL(r.URL)
}

// Refresh implements [Source]: it begins a fetch where one is due, and does not
// wait for it.
func (p *provider) Refresh(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.due.IsZero() && !now.Before(p.due) {
		_, _ = p.begin(now) // an error is that there was one just now
	}
}

// fetch implements [keySource].
func (p *provider) fetch(ctx context.Context) (*keySet, error) {
	f, err := p.board(time.Now())
	if err != nil {
		return nil, err
	}
	defer p.leave(f)
	select {
	case <-f.done:
		return p.current(), f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the issuer's keys: %w", ctx.Err())
	}
}

// board returns a fetch to wait for.
func (p *provider) board(now time.Time) (*flight, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := p.begin(now)
	if err != nil {
		return nil, err
	}
	if f.waiting >= maxWaiting {
		return nil, fmt.Errorf("the issuer's keys are being asked for, and %d calls wait for them already", f.waiting)
	}
	f.waiting++
	return f, nil
}

func (p *provider) leave(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.waiting--
}

// begin returns the fetch that is going on, or a new one where that is allowed.
// The fetch does not depend on the call that wanted it, or a client could end
// it for all by going away. It must be called with the lock held.
func (p *provider) begin(now time.Time) (*flight, error) {
	switch since := now.Sub(p.last); {
	case p.closed:
		return nil, errors.New("the server has stopped")
	case p.flight != nil:
		return p.flight, nil
	case 0 <= since && since < fetchInterval:
		return nil, fmt.Errorf("the issuer's keys were asked for %v ago, and are once in %v at most", since.Round(time.Millisecond), fetchInterval)
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	p.flight = &flight{cancel: cancel, done: make(chan struct{})}
	go p.run(ctx, p.flight)
	return p.flight, nil
}

// run fetches, and says when to do so again.
func (p *provider) run(ctx context.Context, f *flight) {
	defer f.cancel()
	ttl, err := p.get(ctx)
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		p.fail(err)
		ttl = minKeysTTL
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f.err, p.flight, p.last = err, nil, time.Now()
	if err == nil || !p.due.IsZero() {
		p.due = p.last.Add(ttl)
	}
	close(f.done)
}

// get finds the keys as OpenID Connect Discovery 1.0 says, and puts them in
// force. It returns for how long they are good.
func (p *provider) get(ctx context.Context) (time.Duration, error) {
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	data, _, err := p.getURL(ctx, strings.TrimSuffix(p.issuer.String(), "/")+"/.well-known/openid-configuration")
	if err != nil {
		return 0, fmt.Errorf("discovery: %w", err)
	}
	if err := json.Unmarshal(data, &about); err != nil {
		return 0, fmt.Errorf("discovery: %w", err)
	}
	if about.Issuer != p.where {
		return 0, fmt.Errorf("discovery: the issuer says that it is %.256q and not %q", about.Issuer, p.where)
	}
	data, header, err := p.getURL(ctx, about.Keys)
	if err != nil {
		return 0, fmt.Errorf("keys: %w", err)
	}
	return lifetime(header), p.read(data, time.Now())
}

func (p *provider) getURL(ctx context.Context, address string) ([]byte, http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, errors.New("the address is no URL")
	}
	if err := p.checkURL(r.URL); err != nil {
		return nil, nil, err
	}
	r.Header.Set("Accept", "application/json")
	answer, err := p.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("GET %s: %s", r.URL.Redacted(), answer.Status)
	}
	data, err := readAll(answer.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("GET %s: %w", r.URL.Redacted(), err)
	}
	return data, answer.Header, nil
}

// lifetime returns for how long keys are good, as Cache-Control says (RFC 9111)
// within our bounds.
func lifetime(h http.Header) time.Duration {
	for _, directive := range strings.Split(h.Get("Cache-Control"), ",") {
		age, found := strings.CutPrefix(strings.ToLower(strings.TrimSpace(directive)), "max-age=")
		if seconds, err := strconv.Atoi(age); found && err == nil && seconds > 0 && seconds < int(keysTTL/time.Second) {
			return max(minKeysTTL, time.Duration(seconds)*time.Second)
		}
	}
	return keysTTL
}

// Close implements [keySource].
func (p *provider) Close() error {
	p.mu.Lock()
	p.closed = true
	f := p.flight
	p.mu.Unlock()
	if f != nil {
		f.cancel()
		<-f.done
	}
	return nil
}
