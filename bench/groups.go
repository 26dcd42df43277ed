package main

import (
	"os"
	"path/filepath"
	"strings"
)

// group is servers that run at the same time and are called in the same way.
type group struct {
	security            string   // how they are called, for people and as a part of a file's name
	serveArgs, loadArgs []string // options of the servers, and of the load generator
	comparison
	workloads  []workload
	presenting []string // whose callers present the token and the certificate that the load generator has

	turnsPerPair, turnsPerProcess int

	peers   map[string]peer   // those of the contenders that are programs of their own
	without map[string]string // why some of the contenders are not measured
}

// tolerates tells whether a contender is left out where it fails, and its callers go
// on after errors. So it is with peers, and with nobody else: that these fail is the
// end of the run.
func (g group) tolerates(name string) bool {
	_, ok := g.peers[name]
	return ok
}

// argsOf are the options of a server.
func (g group) argsOf(name string) []string {
	if p, ok := g.peers[name]; ok {
		return p.options
	}
	return g.serveArgs
}

// mutual is the security of calls over TLS whose callers present a certificate
// and a token. In sameToken callers present the token to all servers, and in
// manyTokens each call has another, as those of a gateway's users have.
const (
	mutual     = "mTLS, token"
	sameToken  = "plaintext, all with the token" // #nosec G101 -- the name of a group
	manyTokens = "plaintext, 1000 tokens"        // #nosec G101 -- the name of a group
)

// tokens are how many there are then. Servers keep as many, so that all are
// verified once.
const tokens = 1000

// callGroups are those of what everything together costs. Callers present a token
// to easyops, and to nobody else: bare grpc-go is not made dearer by what it would
// not look at. Where they present a certificate, too, only easyops asks for it: to
// the others calls are over TLS. In the last two groups grpc-go is called with tokens as
// well: what it is to read one, or many, is not what easyops adds.
func callGroups(dir string) ([]group, error) {
	m, err := writeMaterial(dir)
	if err != nil {
		return nil, err
	}
	var groups []group
	for _, w := range m.ways() {
		g := group{
			security: w.name, serveArgs: w.serveArgs(true, true), loadArgs: w.loadArgs(), comparison: ofAll,
			workloads:    []workload{{unary, 1}, {unary, 16}, {unary, 128}, {serverStream, 16}, {pingPong, 16}},
			presenting:   []string{ours},
			turnsPerPair: turnsPerPair, turnsPerProcess: turnsPerProcess,
		}
		if w.name == mutual {
			g.comparison = ofMutual
		}
		groups = append(groups, g)
	}
	same, many := groups[0], groups[0]
	same.security, same.comparison = sameToken, ofSameToken
	same.workloads, same.presenting = []workload{{unary, 16}, {unary, 128}}, ofSameToken.contenders
	many.security, many.loadArgs, many.comparison = manyTokens, []string{"-tokens", m.tokens}, ofManyTokens
	many.workloads, many.presenting = same.workloads, []string{ours, barePresented}
	return append(groups, same, many), nil
}

// identityGroups are those of what it costs to know who calls. What callers
// present is the same, whether it is looked at or not.
func identityGroups(dir string) ([]group, error) {
	m, err := writeMaterial(dir)
	if err != nil {
		return nil, err
	}
	base := group{
		comparison: ofIdentity, workloads: []workload{{unary, 16}, {unary, 128}}, presenting: ofIdentity.contenders,
		turnsPerPair: turnsPerPair, turnsPerProcess: turnsPerProcess,
	}
	byToken, byCert := base, base
	byToken.security, byToken.serveArgs, byToken.loadArgs = "token", []string{"-auth", m.auth}, []string{"-token", m.token}
	byCert.security, byCert.serveArgs = "mTLS", []string{"-auth", "mtls", "-cert", m.cert, "-ca", m.cert}
	byCert.loadArgs = []string{"-ca", m.cert, "-cert", m.cert}
	return []group{byToken, byCert}, nil
}

// material is what servers and callers know each other by.
type material struct {
	cert        string // a file with certificate and key, which is its own authority
	auth, token string // how tokens are verified, and one
	tokens      string // a file with many, of as many callers
}

func writeMaterial(dir string) (m material, err error) {
	m.cert, m.tokens = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "tokens")
	auth, list, err := writeKeysOf(filepath.Join(dir, "keys.json"), append(names(tokens), alice)...)
	if err != nil {
		return m, err
	}
	m.auth, m.token = auth, list[tokens]
	if err := os.WriteFile(m.tokens, []byte(strings.Join(list[:tokens], "\n")), 0o600); err != nil {
		return m, err
	}
	return m, writeCert(m.cert)
}

// way is how servers are called.
type way struct {
	material
	name             string
	encrypted, asked bool // by TLS; for a certificate
}

func (m material) ways() []way {
	return []way{{m, "plaintext", false, false}, {m, "TLS", true, false}, {m, mutual, true, true}}
}

// serveArgs are the options of a server, which may ask for certificates, where that
// is the way, and verify tokens.
func (w way) serveArgs(asks, verifies bool) (args []string) {
	if w.encrypted {
		args = append(args, "-cert", w.cert)
	}
	if w.asked && asks {
		args = append(args, "-ca", w.cert)
	}
	if verifies {
		args = append(args, "-auth", w.auth)
	}
	return args
}

// loadArgs are the options of the load generator.
func (w way) loadArgs() (args []string) {
	if w.encrypted {
		args = append(args, "-ca", w.cert)
	}
	if w.asked {
		args = append(args, "-cert", w.cert)
	}
	return append(args, "-token", w.token)
}
