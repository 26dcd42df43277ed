package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// writeToken writes a token to a file and says so. Unless forced, it replaces
// only an older token of the same user or service: a service that found another
// one would be somebody else.
func writeToken(w io.Writer, path, token string, force bool) error {
	if !force {
		if err := replaceable(path, token); err != nil {
			return err
		}
	}
	return writeFiles(w, true, file{path, secretFile, []byte(token + "\n")})
}

// replaceable returns an error where a file holds anything but an older token of
// whom the new one is for. It may be missing or empty.
func replaceable(path, token string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	case info.Size() == 0:
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	old, err := bearerOf(string(text))
	if err != nil {
		return fmt.Errorf("%s holds no token: --force replaces it", path)
	}
	if next, err := bearerOf(token); err != nil || old != next {
		return fmt.Errorf("%s holds the token of %q, vouched for by %s: --force replaces it", path, old.subject, old.issuer)
	}
	return nil
}

// bearer is whom a token is for. Subjects are unique for an issuer alone.
type bearer struct{ subject, issuer string }

// bearerOf reads whom a token is for, and trusts its word.
func bearerOf(token string) (bearer, error) {
	parsed, err := jwt.ParseSigned(strings.TrimSpace(token), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return bearer{}, err
	}
	var c jwt.Claims
	err = parsed.UnsafeClaimsWithoutVerification(&c)
	return bearer{c.Subject, c.Issuer}, err
}
