package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-easyops/easyops/runtime/status"
)

// plaintextError is the refusal to send something unencrypted.
type plaintextError string

func (e plaintextError) Error() string { return string(e) }

// refusedError is an answer with an HTTP status that is none of success.
type refusedError struct {
	code int
	text string
}

func (e refusedError) Error() string { return e.text }

// noPage is how servers begin to say that they have no such page.
const noPage = "there is no such page"

// knowsAPI tells whether who refuses has a status API.
func (e refusedError) knowsAPI() bool {
	return e.code == http.StatusUnauthorized || e.code == http.StatusForbidden
}

// refusal says why a server does not do what it is asked, and what helps.
func (c *conn) refusal(answer *http.Response, body []byte) error {
	const most = 300
	var said status.ErrorData
	text := answer.Status
	if json.Unmarshal(body, &said) == nil && said.Error != "" {
		text = said.Error
	} else if c.certs == nil && strings.Contains(strings.ToLower(string(body)), "https") {
		text = "it wants TLS: --ca names the authorities that verify it"
	}
	text = printable(cut(text, most))
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		text = "it does not know who asks: --token-file names the token of an operator, --cert and --key a certificate: " + text
	case http.StatusForbidden:
		text = "it does not take this from " + c.whom() + ": " + text
	case http.StatusNotFound:
		if said.Error != "" && !strings.HasPrefix(said.Error, noPage) {
			break // the page is there, and something on it is not
		}
		text = "it has no such page, perhaps because it is older: " + text
		if path := answer.Request.URL.Path; path == healthPage || path == versionPage { // which all have
			text = "no easyops server answers there with a status API: " + printable(cut(answer.Status, most))
		}
	}
	return refusedError{answer.StatusCode, text}
}

// whom names what was shown to servers.
func (c *conn) whom() string {
	switch {
	case c.tokens != nil:
		return "whom --token-file is of"
	case c.certs != nil && c.certs.Leaf() != nil:
		return "whom --cert is of"
	}
	return "nobody: --token-file names the token of an operator, --cert and --key a certificate"
}

// explain makes sense of an error of net/http for those who wrote flags.
func (c *conn) explain(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the URL is no news
	}
	if refused, ok := errors.AsType[plaintextError](err); ok {
		return refused
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return errors.New("it does not speak TLS: leave out --ca, --cert and --key, and their variables")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("%w: --service names the service that the certificate is for", wrong)
	}
	return err
}

// unreached tells whether no connection was made.
func unreached(err error) bool {
	failed, ok := errors.AsType[*net.OpError](err)
	return ok && failed.Op == "dial"
}

// doubtful says of the error of a change that it may have been made all the same.
func doubtful(err error) error {
	if err == nil || unreached(err) {
		return err
	}
	if _, ok := errors.AsType[refusedError](err); ok {
		return err
	}
	if _, ok := errors.AsType[plaintextError](err); ok {
		return err
	}
	return fmt.Errorf("%w: whether it was done is not known", err)
}
