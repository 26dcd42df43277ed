package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"
)

// The files of a directory of keys.
const (
	signingKeyFile = "key.pem"
	jwksFile       = "jwks.json"
)

const keysHelp = `
Whoever has the private key can be every user and every service. Keep it where
tokens are made, and give servers jwks.json alone, which is public. They read it
again when it changes.

This is for development, tests, and systems of a few services. Where people log
in, use an identity provider that speaks OpenID Connect and give servers
-easyops.auth=oidc:ISSUER?audience=AUDIENCE instead.`

func keysNewCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "new DIR",
		Short: "Make a key pair that signs tokens.",
		Long: `
Writes the private key DIR/` + signingKeyFile + ` (Ed25519, PKCS #8, readable by its owner
alone) and DIR/` + jwksFile + ` with its public key, for servers.
` + keysHelp,
		Example: `  easyops keys new keys
  easyops token --user alice --groups staff --audience example`,
		Args:              oneArgument("directory"),
		ValidArgsFunction: directories,
		RunE: func(c *cobra.Command, args []string) error {
			key, err := newSigningKey()
			if err != nil {
				return err
			}
			files, err := key.files(args[0], nil)
			if err != nil {
				return err
			}
			if err := writeFiles(c.OutOrStdout(), force, files...); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "\n%s", serversTake(args[0]))
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "replace keys that are there: their tokens are refused from then on")
	return c
}

// serversTake says how servers are told of the keys in a directory.
func serversTake(dir string) string {
	const spec = "jwks:%s?issuer=%s&audience=AUDIENCE&use=%s"
	set := filepath.ToSlash(filepath.Join(dir, jwksFile))
	return fmt.Sprintf("Servers take tokens of users and of services with\n  -easyops.auth='"+spec+","+spec+"'\n",
		set, userIssuer, "user", set, serviceIssuer, "service")
}

func keysRotateCommand() *cobra.Command {
	var drop bool
	c := &cobra.Command{
		Use:   "rotate DIR",
		Short: "Replace the key that signs tokens.",
		Long: `
Makes a new private key, and adds its public key to DIR/` + jwksFile + `. The old public
keys stay there, so that tokens signed with them are good until they expire.

Where servers have copies of ` + jwksFile + `, give them the new one before you make tokens
with the new key. Once the last old token has expired, easyops keys retire takes the
old keys out. A key that was lost to somebody must go at once: --drop-old.`,
		Example: `  easyops keys rotate keys
  easyops keys rotate --drop-old keys`,
		Args:              oneArgument("directory"),
		ValidArgsFunction: directories,
		RunE: func(c *cobra.Command, args []string) error {
			if err := wantDirectory("DIR", args[0], "with the keys"); err != nil {
				return err
			}
			old, err := readKeySet(args[0])
			if err != nil {
				return err
			}
			if drop {
				old = nil
			}
			key, err := newSigningKey()
			if err != nil {
				return err
			}
			files, err := key.files(args[0], old)
			if err != nil {
				return err
			}
			return writeFiles(c.OutOrStdout(), true, files...)
		},
	}
	c.Flags().BoolVar(&drop, "drop-old", false, "take the old keys out: their tokens are refused from then on")
	return c
}

func keysRetireCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "retire DIR",
		Short: "Take out the keys that sign no more.",
		Long: `
Leaves in DIR/` + jwksFile + ` only the key that signs. This ends a rotation: tokens of
older keys are refused from then on, also where they were taken before.`,
		Example:           `  easyops keys retire keys`,
		Args:              oneArgument("directory"),
		ValidArgsFunction: directories,
		RunE: func(c *cobra.Command, args []string) error {
			if err := wantDirectory("DIR", args[0], "with the keys"); err != nil {
				return err
			}
			key, err := readSigningKey(args[0])
			if err != nil {
				return err
			}
			files, err := key.files(args[0], nil)
			if err != nil {
				return err
			}
			return writeFiles(c.OutOrStdout(), true, files[0])
		},
	}
}

// signingKey is what signs tokens.
type signingKey struct {
	private ed25519.PrivateKey
	id      string // the RFC 7638 thumbprint of its public key
}

func newSigningKey() (signingKey, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return signingKey{}, err
	}
	return signingKeyOf(private)
}

func signingKeyOf(private ed25519.PrivateKey) (signingKey, error) {
	sum, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return signingKey{}, fmt.Errorf("naming the key: %w", err)
	}
	return signingKey{private, base64.RawURLEncoding.EncodeToString(sum)}, nil
}

// files are those of a directory of keys. Public keys that are given stay in it,
// behind that of k. The file of public keys is the first.
func (k signingKey) files(dir string, old []jose.JSONWebKey) ([]file, error) {
	private, err := privatePEM(k.private)
	if err != nil {
		return nil, err
	}
	public := jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: string(jose.EdDSA), Use: "sig"}
	set, err := json.MarshalIndent(jose.JSONWebKeySet{Keys: append([]jose.JSONWebKey{public}, old...)}, "", "  ")
	if err != nil {
		return nil, err
	}
	return []file{ // servers may know a key that signs nothing yet, not the other way round
		{filepath.Join(dir, jwksFile), publicFile, append(set, '\n')},
		{filepath.Join(dir, signingKeyFile), secretFile, private},
	}, nil
}

// readSigningKey reads the private key of a directory.
func readSigningKey(dir string) (signingKey, error) {
	path := filepath.Join(dir, signingKeyFile)
	key, err := readPrivateKey(path)
	if errors.Is(err, os.ErrNotExist) {
		return signingKey{}, fmt.Errorf("%w: easyops keys new %s makes one, --keys names another directory", err, dir)
	}
	if err != nil {
		return signingKey{}, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return signingKey{}, fmt.Errorf("%s holds a key of another kind than Ed25519: easyops keys new makes one", path)
	}
	return signingKeyOf(private)
}

// readKeySet reads the public keys of a directory.
func readKeySet(dir string) ([]jose.JSONWebKey, error) {
	path := filepath.Join(dir, jwksFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: easyops keys new %s makes the first keys", err, dir)
	}
	if err != nil {
		return nil, err
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() {
			return nil, fmt.Errorf("%s holds a key that is not public: it must go from there and from every server", path)
		}
	}
	return set.Keys, nil
}

func privatePEM(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// readPrivateKey reads a private key in PKCS #8, PEM.
func readPrivateKey(path string) (crypto.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s holds no private key in PKCS #8, PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}
