package easyops

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
)

// ownToken is the token that says which service we are. Calls take what is in
// force and never look at its file, which may be on a disk that hangs: that is for
// the upkeep of their Conn.
type ownToken struct {
	file   *auth.FileToken
	where  string
	log    *slog.Logger
	now    atomic.Pointer[ownHeaders]
	warned atomic.Int64 // when that it has expired was last said, in Unix seconds
}

// ownHeaders are made once for each token.
type ownHeaders struct {
	token   string
	value   string            // of its header
	alone   map[string]string // of calls without a user
	expires time.Time
}

func openOwnToken(c *config) (*ownToken, error) {
	if c.serviceToken == "" {
		return nil, nil
	}
	file, err := auth.TokenFile(c.serviceToken, c.log())
	if err != nil {
		return nil, errors.New("-easyops.service-token or EASYOPS_SERVICE_TOKEN: " + err.Error())
	}
	o := &ownToken{file: file, where: c.serviceToken, log: c.log()}
	return o, o.take()
}

// look looks at the file.
func (o *ownToken) look(now time.Time) {
	o.file.Refresh(now)
	_ = o.take() // of a file that was read it has no error
}

// take has calls carry the token that is in force.
func (o *ownToken) take() error {
	token, err := o.file.Token(context.Background())
	if err != nil {
		return err
	}
	if h := o.now.Load(); h == nil || h.token != token {
		o.now.Store(&ownHeaders{token: token, value: bearer(token), alone: headers("", bearer(token)), expires: o.file.State().Expires})
	}
	return nil
}

// headers returns the headers of a call, which must not be changed.
func (o *ownToken) headers(user string) map[string]string {
	h := o.now.Load()
	o.warnExpired(h.expires)
	if user == "" {
		return h.alone
	}
	return headers(bearer(user), h.value)
}

// warnExpired says at most once a minute that the token has expired. The call
// goes all the same: whether it is let in is for the server to say.
func (o *ownToken) warnExpired(expires time.Time) {
	if expires.IsZero() {
		return
	}
	now := time.Now()
	last := o.warned.Load()
	if now.Before(expires) || now.Unix() < last+60 || !o.warned.CompareAndSwap(last, now.Unix()) {
		return
	}
	o.log.Warn("the service token has expired, so servers refuse it: put a new one in its file", "file", o.where, "expired", expires)
}
