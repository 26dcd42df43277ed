package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spf13/cobra"
)

// The issuers of tokens where --issuer names none. They are two so that a token
// of a service is never taken for one of a user, nor the other way round.
const (
	userIssuer    = "easyops-users"
	serviceIssuer = "easyops-services"
)

// What servers take: of the lifetime by default, of the rest ever.
const (
	longestToken = 24 * time.Hour
	largestToken = 8 << 10 // bytes
	longestName  = 256     // characters
)

// tokenRequest is the token that a command line asks for.
type tokenRequest struct {
	user, service    string
	groups, audience []string
	name, email      string
	issuer           string
	ttl              lifetime
}

func tokenCommand() *cobra.Command {
	request := tokenRequest{ttl: lifetime(time.Hour)}
	var keys, out string
	var force bool
	c := &cobra.Command{
		Use:   "token --user|--service ID",
		Short: "Make a token for a user or a service.",
		Long: `
Signs a JSON Web Token with the key that easyops keys new made, and prints it
and nothing else. Servers take it as "authorization: Bearer TOKEN" where their
-easyops.auth names the same keys, issuer and audience. The audience is one name
that the services of a system share.

Without --issuer, users are vouched for by ` + userIssuer + ` and services by
` + serviceIssuer + `. Keep the two apart, also with names of your own, so that no
server takes one for the other.

A service reads its token with -easyops.service-token=FILE, and again when it
changes: make a new one before the old expires. A service with a certificate of
easyops ca issue needs none.`,
		Example: `  easyops token --user alice --groups staff --ttl 1h --audience example
  easyops token --service billing --audience example --out billing.token
  grpcurl -H "authorization: Bearer $(easyops token --user alice --audience example)" ...`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			request.groups, request.audience = trimmed(request.groups), trimmed(request.audience)
			if err := request.check(); err != nil {
				return usagef("token: %w", err)
			}
			if ttl := time.Duration(request.ttl); ttl > longestToken {
				fmt.Fprintf(c.ErrOrStderr(), "easyops: warning: a token for %v: servers refuse more than 24h unless they are told otherwise\n", &request.ttl)
			}
			if err := wantDirectory("--keys", keys, "with the keys"); err != nil {
				return err
			}
			key, err := readSigningKey(keys)
			if err != nil {
				return err
			}
			token, err := request.sign(key, time.Now())
			if err != nil {
				return err
			}
			if out != "" {
				return writeToken(c.OutOrStdout(), out, token, force)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), token)
			return err
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := c.Flags()
	f.StringVar(&request.user, "user", "", "`ID` of the user whom the token is for")
	f.StringVar(&request.service, "service", "", "`ID` of the service that the token is for, the name that rules use")
	f.StringSliceVar(&request.audience, "audience", nil, "`name` that servers have in the audience of their -easyops.auth")
	f.StringSliceVar(&request.groups, "groups", nil, "`groups` that the user is in, comma-separated")
	f.Var(&request.ttl, "ttl", "how long the token is good for, at most 24h by the default of servers")
	f.StringVar(&request.issuer, "issuer", "", "`name` of who vouches for it ("+userIssuer+" or "+serviceIssuer+")")
	f.StringVar(&request.name, "name", "", "`name` of the user or service, for people")
	f.StringVar(&request.email, "email", "", "`address` of the user")
	f.StringVar(&keys, "keys", "keys", "`directory` with the keys")
	f.StringVar(&out, "out", "", "`file` to write the token to instead, readable by its owner alone; a token of the same ID is replaced")
	f.BoolVar(&force, "force", false, "replace whatever the file holds")
	_ = c.MarkFlagDirname("keys")
	_ = c.MarkFlagFilename("out")
	return c
}

// check returns what is wrong with a request, all at once.
func (r tokenRequest) check() error {
	var errs []error
	fault := func(wrong bool, text string) {
		if wrong {
			errs = append(errs, errors.New(text))
		}
	}
	fault((r.user == "") == (r.service == ""), "name whom it is for: either --user or --service")
	fault(len(r.audience) == 0, "--audience is missing: the name that servers have in the audience of their -easyops.auth")
	fault(r.service != "" && len(r.groups) > 0, "--groups are of users, and this is a service")
	fault(r.service != "" && r.email != "", "--email is of users, and this is a service")
	fault(slices.ContainsFunc(r.groups, spaced), "--groups: a group has a space in its name: separate groups by commas, such as dev,staff")
	names := slices.Concat([]string{r.user + r.service}, r.groups, r.audience)
	if i := slices.IndexFunc(names, unfit); i >= 0 && errs == nil {
		errs = append(errs, fmt.Errorf("%q names nobody: names have 1 to %d printable characters, and no spaces at their ends", names[i], longestName))
	}
	return errors.Join(errs...)
}

// spaced tells whether a name has a space in it.
func spaced(name string) bool { return strings.ContainsFunc(name, unicode.IsSpace) }

// unfit tells whether servers refuse a name.
func unfit(name string) bool {
	return name == "" || name != strings.TrimSpace(name) || utf8.RuneCountInString(name) > longestName ||
		strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError })
}

// claims are those of an access token (RFC 9068).
type claims struct {
	jwt.Claims
	Client string   `json:"client_id"`
	Name   string   `json:"name,omitempty"`
	Email  string   `json:"email,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// sign returns the token. Issuers differ, so that who is a service is never taken
// for a user.
func (r tokenRequest) sign(key signingKey, now time.Time) (string, error) {
	c := claims{Client: "easyops", Name: r.name, Email: r.email, Groups: r.groups}
	subject, issuer := r.user, userIssuer
	if r.service != "" {
		subject, issuer, c.Client = r.service, serviceIssuer, r.service
	}
	if r.issuer != "" {
		issuer = r.issuer
	}
	c.Claims = jwt.Claims{
		Issuer:    issuer,
		Subject:   subject,
		Audience:  r.audience,
		IssuedAt:  jwt.NewNumericDate(now),
		NotBefore: jwt.NewNumericDate(now),
		Expiry:    jwt.NewNumericDate(now.Add(time.Duration(r.ttl))),
		ID:        rand.Text(),
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.EdDSA,
		Key:       jose.JSONWebKey{Key: key.private, KeyID: key.id},
	}, options)
	if err != nil {
		return "", fmt.Errorf("signing the token: %w", err)
	}
	token, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing the token: %w", err)
	}
	if len(token) > largestToken {
		return "", fmt.Errorf("the token has %d bytes, and servers take %d: name fewer groups", len(token), largestToken)
	}
	return token, nil
}
