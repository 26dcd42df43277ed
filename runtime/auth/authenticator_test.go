package auth

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// fixed is an authenticator that knows a few credentials: tokens and subjects of
// certificates.
type fixed map[string]Identity

func (f fixed) Authenticate(_ context.Context, c Credential) (Identity, error) {
	name := c.Token
	if len(c.Certs) > 0 {
		name = c.Certs[0].Subject.CommonName
	}
	id, known := f[name]
	if !known && strings.HasPrefix(name, "bad") {
		return Identity{}, errors.New("it is bad")
	}
	return id, nil
}

func certificate(name string) []*x509.Certificate {
	return []*x509.Certificate{{Subject: pkix.Name{CommonName: name}}}
}

func TestIdentify(t *testing.T) {
	user, service, other := &Principal{ID: "alice"}, &Principal{ID: "billing"}, &Principal{ID: "echo"}
	first := fixed{"u": {User: user}, "cert": {Service: other}, "cert-user": {User: &Principal{ID: "card"}}}
	second := fixed{"s": {Service: service}, "u": {User: &Principal{ID: "second"}}, "both": {User: user, Service: service}, "bad-to-first": {User: user}}
	long := strings.Repeat("a", maxToken)
	for name, c := range map[string]struct {
		p     Presented
		want  string
		token string
		err   string // "" is none
	}{
		"nothing":                    {Presented{}, "anonymous", "", ""},
		"user":                       {Presented{User: []string{"Bearer u"}}, "user alice", "u", ""},
		"scheme in any case":         {Presented{User: []string{"bEARER u"}}, "user alice", "u", ""},
		"service for itself":         {Presented{User: []string{"Bearer s"}}, "service billing", "", ""},
		"service":                    {Presented{Service: []string{"Bearer s"}}, "service billing", "", ""},
		"user by service":            {Presented{User: []string{"Bearer u"}, Service: []string{"Bearer s"}}, "user alice by service billing", "u", ""},
		"certificate":                {Presented{Certs: certificate("cert")}, "service echo", "", ""},
		"certificate before token":   {Presented{Service: []string{"Bearer s"}, Certs: certificate("cert")}, "service echo", "", ""},
		"certificate and own token":  {Presented{User: []string{"Bearer s"}, Certs: certificate("cert")}, "service echo", "", ""},
		"user with certificate":      {Presented{User: []string{"Bearer u"}, Certs: certificate("cert")}, "user alice by service echo", "u", ""},
		"user before certificate's":  {Presented{User: []string{"Bearer u"}, Certs: certificate("cert-user")}, "user alice", "u", ""},
		"certificate nobody takes":   {Presented{Certs: certificate("unknown")}, "anonymous", "", ""},
		"certificate that is bad":    {Presented{User: []string{"Bearer u"}, Certs: certificate("bad")}, "user alice", "u", ""},
		"the first does not take it": {Presented{User: []string{"Bearer bad-to-first"}}, "user alice", "bad-to-first", ""},
		"both at once":               {Presented{User: []string{"Bearer both"}}, "user alice by service billing", "both", ""},

		"user as service":            {Presented{Service: []string{"Bearer u"}}, "", "", "the token of a user"},
		"both as service":            {Presented{Service: []string{"Bearer both"}}, "", "", "the token of a user"},
		"service twice":              {Presented{User: []string{"Bearer s"}, Service: []string{"Bearer s"}}, "", "", "both headers"},
		"unknown":                    {Presented{User: []string{"Bearer x"}}, "", "", "no authenticator takes it"},
		"unknown service":            {Presented{User: []string{"Bearer u"}, Service: []string{"Bearer x"}}, "", "", "service token: no authenticator takes it"},
		"bad":                        {Presented{User: []string{"Bearer bad"}}, "", "", "it is bad"},
		"bad with certificate":       {Presented{User: []string{"Bearer bad"}, Certs: certificate("cert")}, "", "", "it is bad"},
		"two users":                  {Presented{User: []string{"Bearer u", "Bearer u"}}, "", "", "2 values of authorization"},
		"two services":               {Presented{Service: []string{"Bearer s", ""}}, "", "", "2 values of easyops-service-authorization"},
		"empty":                      {Presented{User: []string{""}}, "", "", "Bearer TOKEN"},
		"no token":                   {Presented{User: []string{"Bearer "}}, "", "", "Bearer TOKEN"},
		"no scheme":                  {Presented{User: []string{"u"}}, "", "", "Bearer TOKEN"},
		"other scheme":               {Presented{User: []string{"Basic u"}}, "", "", "Bearer TOKEN"},
		"space before":               {Presented{User: []string{" Bearer u"}}, "", "", "Bearer TOKEN"},
		"two spaces":                 {Presented{User: []string{"Bearer  u"}}, "", "", "no authenticator"},
		"tab":                        {Presented{User: []string{"Bearer\tu"}}, "", "", "Bearer TOKEN"},
		"list":                       {Presented{User: []string{"Bearer u, Bearer u"}}, "", "", "no authenticator"},
		"as long as it may be":       {Presented{User: []string{"Bearer " + long}}, "", "", "no authenticator"},
		"a byte longer":              {Presented{User: []string{"Bearer " + long + "a"}}, "", "", "8193 bytes"},
		"empty service beside user":  {Presented{User: []string{"Bearer u"}, Service: []string{""}}, "", "", "easyops-service-authorization is not"},
		"broken user beside service": {Presented{User: []string{"u"}, Service: []string{"Bearer s"}}, "", "", "authorization is not"},
	} {
		got, err := Identify(context.Background(), c.p, []Authenticator{first, second})
		if c.err != "" {
			if !errors.Is(err, ErrUnauthenticated) || !matches(err, c.err) || got != (Caller{}) {
				t.Errorf("%s: got %v, %v; want %q", name, got, err, c.err)
			}
			continue
		}
		if err != nil || got.String() != c.want || got.UserToken != c.token {
			t.Errorf("%s: got %v with %q, %v; want %s with %q", name, got, got.UserToken, err, c.want, c.token)
		}
	}
}

// Without an authenticator nothing is believed.
func TestIdentifyWithoutAuthenticators(t *testing.T) {
	for name, p := range map[string]Presented{"user": {User: []string{"Bearer u"}}, "service": {Service: []string{"Bearer u"}}} {
		if _, err := Identify(context.Background(), p, nil); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c, err := Identify(context.Background(), Presented{Certs: certificate("x")}, nil); err != nil || c.String() != "anonymous" {
		t.Errorf("certificate: %v, %v", c, err)
	}
}

// The log has to say what to do about a token of an issuer that nobody knows.
func TestIdentifyNamesTheIssuer(t *testing.T) {
	k := newEdKey("k")
	a := open(t, "", k)
	token := k.token("iss", "https://other.example\n")
	_, err := Identify(context.Background(), Presented{User: bearerOf(token)}, []Authenticator{a})
	if !matches(err, `no authenticator takes it: it says that it is of issuer "https://other.example\n"`) {
		t.Error(err)
	}
}

// What is printed for people holds no token.
func TestNoTokenIsPrinted(t *testing.T) {
	const secret = "eyJcanary"
	var log bytes.Buffer
	l := slog.New(slog.NewJSONHandler(&log, nil))
	for _, v := range []any{
		Credential{Token: secret},
		Credential{Token: secret, OfService: true},
		&Credential{Token: secret},
		Caller{UserToken: secret},
		&Caller{UserToken: secret, Identity: Identity{User: &Principal{ID: "alice"}}},
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if s := fmt.Sprintf(format, v); strings.Contains(s, secret) {
				t.Errorf("%s of %T: %s", format, v, s)
			}
		}
		l.Info("x", "value", v)
		l.Info("x", "values", []any{v}, "json", string(must(json.Marshal(v))))
	}
	l.Info("group", slog.Any("caller", &Caller{UserToken: secret}))
	_, err := Identify(context.Background(), Presented{User: []string{"Bearer " + secret}}, []Authenticator{fixed{}})
	l.Info("x", "err", err)
	_, err = Identify(context.Background(), Presented{User: []string{secret}}, nil)
	l.Info("x", "err", err)
	if strings.Contains(log.String(), secret) {
		t.Errorf("the log holds the token:\n%s", log.String())
	}
	for want, c := range map[string]Credential{"token": {Token: "t"}, "service token": {Token: "t", OfService: true}, `certificate of "CN=echo"`: {Certs: certificate("echo")}} {
		if c.String() != want {
			t.Errorf("got %q, want %q", c, want)
		}
	}
}

func TestAuthenticatorFunc(t *testing.T) {
	f := AuthenticatorFunc(func(_ context.Context, c Credential) (Identity, error) {
		return Identity{User: &Principal{ID: c.Token}}, nil
	})
	if id, err := f.Authenticate(context.Background(), Credential{Token: "x"}); err != nil || id.User.ID != "x" {
		t.Error(id, err)
	}
}
