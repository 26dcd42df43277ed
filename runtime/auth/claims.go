package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// claims are what a token says (RFC 7519).
type claims map[string]any

// leeway is by how much clocks may differ.
const leeway = time.Minute

// checkTimes tells whether the token is good now, and returns until when it is
// accepted: its expiry and the leeway.
func (c claims) checkTimes(now time.Time, maxLifetime time.Duration) (until time.Time, err error) {
	exp, hasExp, err1 := c.date("exp")
	nbf, hasNbf, err2 := c.date("nbf")
	iat, hasIat, err3 := c.date("iat")
	if err := errors.Join(err1, err2, err3); err != nil {
		return time.Time{}, err
	}
	start := iat
	if !hasIat {
		start = nbf
	}
	until = exp.Add(leeway)
	switch {
	case !hasExp:
		err = errors.New("it never expires: exp is required")
	case !hasIat && !hasNbf:
		err = errors.New("it does not say since when it is good: iat or nbf is required")
	case !now.Before(until):
		err = fmt.Errorf("it expired %v", exp.UTC())
	case hasNbf && nbf.After(now.Add(leeway)):
		err = fmt.Errorf("it is not good before %v", nbf.UTC())
	case hasIat && iat.After(now.Add(leeway)):
		err = fmt.Errorf("it was issued in the future, %v", iat.UTC())
	case !exp.After(start):
		err = errors.New("it expires before it begins")
	case exp.Sub(start) > maxLifetime:
		err = fmt.Errorf("it is good for %v: at most %v are taken (max-lifetime)", exp.Sub(start), maxLifetime)
	}
	return until, err
}

// maxDate is the last second of the year 9999, the last that RFC 3339 can write.
const maxDate = 253402300799

// date returns a NumericDate (RFC 7519, 2).
func (c claims) date(name string) (t time.Time, given bool, err error) {
	v, given := c[name]
	if !given {
		return time.Time{}, false, nil
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, true, fmt.Errorf("%s is no number", name)
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || f < 0 || f > maxDate {
		return time.Time{}, true, fmt.Errorf("%s is no date: %.40s", name, n)
	}
	seconds, fraction := math.Modf(f)
	return time.Unix(int64(seconds), int64(fraction*1e9)), true, nil
}

// checkAudience tells whether the token is for us, and for nothing that it would
// prove something else for.
func (c claims) checkAudience(audiences, others []string) error {
	var aud []string
	switch v := c["aud"].(type) {
	case string:
		aud = []string{v}
	default:
		var ok bool
		if aud, ok = texts(v); !ok {
			return errors.New("aud is required, and a string or a list of strings")
		}
	}
	if firstCommon(aud, audiences) == "" {
		return fmt.Errorf("it is for audience %.256q and not for %q", aud, audiences)
	}
	if o := firstCommon(aud, others); o != "" {
		return fmt.Errorf("it is for audience %q as well, so that it would prove a user and a service", o)
	}
	return nil
}

// principal translates the claims.
func (c claims) principal(names claimNames) (*Principal, error) {
	id, ok := c.lookup(names.id).(string)
	if !ok || !isName(id) {
		return nil, fmt.Errorf("%s is required: 1 to %d printable characters", names.id, maxName)
	}
	if names.id == "email" && c["email_verified"] != true {
		return nil, errors.New("email is the ID, and email_verified is not true")
	}
	groups, err := c.groups(names.groups)
	if err != nil {
		return nil, err
	}
	issuer, _ := c["iss"].(string)
	p := &Principal{ID: id, Issuer: issuer, Name: c.optional(names.name), Groups: slices.Clip(groups)}
	switch v, given := c["email_verified"]; {
	case !given, v == true, v == "true": // some issuers write it as a string
		p.Email = c.optional(names.email)
	}
	return p, nil
}

// groups returns the names of a list, or the one of a string. Where there is no
// such claim the user is in no group.
func (c claims) groups(name string) ([]string, error) {
	v := c.lookup(name)
	if v == nil {
		return nil, nil
	}
	groups, ok := texts(v)
	if s, one := v.(string); one {
		groups, ok = []string{s}, true
	}
	if !ok || slices.ContainsFunc(groups, func(g string) bool { return !isName(g) }) {
		return nil, fmt.Errorf("%s is no list of names: the parameter groups names the claim that is", name)
	}
	return groups, nil
}

// optional returns what is good to have, and "" where it is of another kind.
func (c claims) optional(name string) string {
	if s, ok := c.lookup(name).(string); ok && isName(s) {
		return s
	}
	return ""
}

// lookup returns the claim of that name, or the member that the name leads to.
// Names of claims may hold dots themselves, as URLs do.
func (c claims) lookup(name string) any {
	if v, ok := c[name]; ok {
		return v
	}
	for i, r := range name {
		if r != '.' {
			continue
		}
		if o, ok := c[name[:i]].(map[string]any); ok {
			return claims(o).lookup(name[i+1:])
		}
	}
	return nil
}

// texts returns the elements of a list of strings.
func texts(v any) (list []string, ok bool) {
	elements, ok := v.([]any)
	for _, e := range elements {
		s, isText := e.(string)
		if !isText {
			return nil, false
		}
		list = append(list, s)
	}
	return list, ok
}

const maxName = 256 // characters of what names someone

// isName tells whether the text can name someone in rules, logs and pages: no
// control or bidirectional characters, nor what stands for broken ones.
func isName(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || r == utf8.RuneError
	})
}
