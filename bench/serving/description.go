package serving

// Description is what a peer says of itself when it is asked with -describe, as
// JSON.
type Description struct {
	Name     string            // of its program
	Module   string            // that it is a server of
	Version  string            // of that module
	GRPC     string            // version of google.golang.org/grpc that is linked, or nothing
	Features map[string]string // what is on, by a name of Features, and by what; the others it has not, or not on
	Security []string          // how it can be called, of Plaintext, TLS, Token and Mutual
	Quiet    bool              // it can leave out its access log, by -quiet
	Notes    string            // what else who compares it must know, or nothing
}

// The names of Description.Features, in the order in which they are shown.
const (
	Recovery  = "recovery"   // a panic ends the call alone
	Metrics   = "metrics"    // of each call
	AccessLog = "access log" // of each call
	Identity  = "identity"   // of callers, by a token that is verified, where -auth is given
	Limits    = "limits"     // such as shedding and timeouts
	Discovery = "discovery"  // the server is listed in a registry
)

// Features are all names of features.
func Features() []string {
	return []string{Recovery, Metrics, AccessLog, Identity, Limits, Discovery}
}

// How a peer can be called. Each is a set of flags, too.
const (
	Plaintext = "plaintext"         // neither -cert nor -auth
	TLS       = "TLS"               // -cert
	Token     = "token"             // -auth jwks:…
	Mutual    = "mTLS with a token" // -cert, -ca and -auth jwks:…
)
