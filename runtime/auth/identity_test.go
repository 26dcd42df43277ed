package auth

import (
	"context"
	"testing"
	"time"
)

func TestExpires(t *testing.T) {
	at := func(s int64) *Principal { return &Principal{Expires: time.Unix(s, 0)} }
	never := &Principal{}
	for name, c := range map[string]struct {
		id   Identity
		want int64 // 0 is never
	}{
		"nobody": {Identity{}, 0}, "user": {Identity{User: at(5)}, 5}, "service": {Identity{Service: at(5)}, 5}, "never": {Identity{User: never, Service: never}, 0},
		"user first": {Identity{at(5), at(6)}, 5}, "service first": {Identity{at(6), at(5)}, 5}, "user only expires": {Identity{at(5), never}, 5}, "service only expires": {Identity{never, at(5)}, 5},
	} {
		want := time.Unix(c.want, 0)
		if c.want == 0 {
			want = time.Time{}
		}
		if got := c.id.Expires(); !got.Equal(want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestCallerOfAContext(t *testing.T) {
	user, service := &Principal{ID: "alice", Groups: []string{"staff"}}, &Principal{ID: "billing", Groups: []string{"ops"}}
	for name, c := range map[string]struct {
		ctx            context.Context
		user, service  *Principal
		staff, ops     bool
		outsideOfACall bool
	}{
		"outside of a call": {context.Background(), nil, nil, false, false, true},
		"nobody":            {NewContext(context.Background(), Identity{}), nil, nil, false, false, false},
		"user":              {NewContext(context.Background(), Identity{User: user}), user, nil, true, false, false},
		"service":           {NewContext(context.Background(), Identity{Service: service}), nil, service, false, false, false},
		"both":              {NewContext(context.Background(), Identity{user, service}), user, service, true, false, false},
		"the inner one":     {NewContext(NewContext(context.Background(), Identity{User: user}), Identity{Service: service}), nil, service, false, false, false},
	} {
		if User(c.ctx) != c.user || Service(c.ctx) != c.service || (CallerFrom(c.ctx) == nil) != c.outsideOfACall {
			t.Errorf("%s: user %v, service %v", name, User(c.ctx), Service(c.ctx))
		}
		if InGroup(c.ctx, "staff") != c.staff || InGroup(c.ctx, "ops") != c.ops || InGroup(c.ctx, "") {
			t.Errorf("%s: in staff %v, in ops %v", name, InGroup(c.ctx, "staff"), InGroup(c.ctx, "ops"))
		}
		if token, _ := UserToken(c.ctx); token != "" {
			t.Errorf("%s: it carries a token", name)
		}
	}
}

func TestCallerForPeople(t *testing.T) {
	user, service := &Principal{ID: "alice"}, &Principal{ID: "billing"}
	for want, id := range map[string]Identity{
		"anonymous": {}, "user alice": {User: user}, "service billing": {Service: service}, "user alice by service billing": {user, service},
	} {
		if got := (Caller{Identity: id}).LogValue().String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
