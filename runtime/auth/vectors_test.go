package auth

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var vectors = flag.String("vectors", "", "a `file` of Wycheproof's JSON Web Signature tests; test/tokens gives it")

// Others' vectors sign text that is no claims, so they go to what is below: the
// reading of keys and tokens, and signatures.
func TestVectors(t *testing.T) {
	if *vectors == "" {
		t.Skip("no -vectors")
	}
	data, err := os.ReadFile(*vectors)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct {
			Comment         string
			Public, Private json.RawMessage
			Tests           []struct {
				TcID                 int
				Comment, JWS, Result string
			}
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, g := range file.TestGroups {
		key := g.Public
		if key == nil {
			key = g.Private
		}
		if !strings.Contains(string(key), `"keys"`) {
			key = []byte(`{"keys":[` + string(key) + `]}`)
		}
		keys, _, keyErr := parseKeys(key)
		for _, c := range g.Tests {
			if keyErr != nil {
				counts[c.Result+", whose keys are not taken"]++
				continue
			}
			err := verifyJWS(c.JWS, keys)
			switch {
			case c.Result == "invalid" && err == nil:
				t.Errorf("%s %d %s: accepted", g.Comment, c.TcID, c.Comment)
			case c.Result == "valid" && err != nil && !strings.Contains(c.JWS, ".."):
				t.Errorf("%s %d %s: %v", g.Comment, c.TcID, c.Comment, err)
			}
			outcome := map[bool]string{true: "accepted", false: "refused"}[err == nil]
			counts[c.Result+", "+outcome]++
		}
	}
	t.Logf("%v", counts)
}

func verifyJWS(raw string, keys *keySet) error {
	token, err := parseJWS(raw)
	if err != nil {
		return err
	}
	k, err := keys.find(token)
	if err != nil {
		return err
	}
	return k.verify(token)
}
