// Package registry says who serves: which instances of which services run,
// where they listen and whether they are ready.
//
// A [Registry] is where instances are listed; the packages below this one are
// the implementations, and [Open] chooses one by its URL. A [Publisher] keeps
// the instances of a server listed for as long as the server lives.
package registry

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
)

// Kind is a protocol that an instance speaks at its address.
type Kind string

// The kinds of instances.
const (
	KindGRPC   Kind = "grpc"   // the gRPC service that the instance is listed under
	KindStatus Kind = "status" // the status API
	KindHTTP   Kind = "http"   // HTTP handlers, listed under a name of their own
	KindTCP    Kind = "tcp"    // a plain TCP port, listed under a name of its own
)

// Health is what an instance says about itself.
type Health string

// The states of health. Clients call instances that are READY; where there are
// none, they call those that are STOPPING.
const (
	Starting Health = "STARTING"  // not serving yet
	Ready    Health = "READY"     // serving
	NotReady Health = "NOT_READY" // serving, but one of its checks fails
	Stopping Health = "STOPPING"  // serving still, about to end
)

// Instance is one entry of a registry: one service of one server. The entries
// of all services that a server serves share its ID, so an entry is told from
// others by its service and its ID.
type Instance struct {
	ID         string            `json:"id"`
	Service    string            `json:"service"`
	Addr       string            `json:"addr"` // host:port
	Kinds      []Kind            `json:"kinds"`
	Health     Health            `json:"health"`
	Version    string            `json:"version,omitempty"` // the program's, for people to read
	Tags       map[string]string `json:"tags,omitempty"`
	Owner      string            `json:"owner,omitempty"`       // the user whose personal instance it is
	StatusAddr string            `json:"status_addr,omitempty"` // host:port of the status API, where it is not Addr
	Started    time.Time         `json:"started"`
}

// NewID returns an ID for a new server: 80 random bits, never used before.
func NewID() string { return strings.ToLower(rand.Text()[:16]) }

// Registry lists instances. Its methods may be called concurrently. Errors need
// not name the registry: who reports them does.
type Registry interface {
	// Register lists the instances, which are valid and share one ID, and
	// keeps them listed until the lease ends. It returns an error when the
	// context ends first or the registry cannot be asked; then nothing is
	// listed, or will soon be gone.
	Register(ctx context.Context, instances []Instance) (Lease, error)

	// Watch calls update with every instance of a service that is listed, of
	// whatever kind and health, soon after it was called and after each
	// change, until the context ends; then it returns. An error means that the
	// registry cannot be asked now: what was known before is still the best
	// there is to know. An empty list without an error means that there is no
	// instance. The calls come one after the other; changes that follow each
	// other quickly may come as one. The list belongs to the caller of Watch,
	// what its elements refer to must not be changed.
	Watch(ctx context.Context, service string, update func([]Instance, error))

	// LastAnswer returns when the registry last answered anything at all, be
	// it with an error of its own: zero before the first answer. A registry
	// that is in use and reached is asked every few seconds.
	LastAnswer() time.Time

	// Close frees what the registry holds. It does not end leases and watches.
	Close() error

	// String names the registry for messages, such as
	// "local registry in /run/user/1000/easyops".
	String() string
}

// Lease is the hold that a server has on its entries. Its methods are not
// called concurrently, except for Lost.
type Lease interface {
	// Update replaces the entries. After an error, what is listed is unknown.
	Update(ctx context.Context, instances []Instance) error

	// Lost is closed when the entries are gone, or will be, without having
	// been revoked. A lost lease is not found again: Register makes a new one.
	// A lease that has a method Err() error says by it why it is lost; of others
	// that is not known.
	Lost() <-chan struct{}

	// Close takes the entries out of the registry and ends the lease, also
	// where it is lost. Entries that a later lease has made its own stay. After
	// an error they end by themselves, soon, and Close may be called again.
	Close(ctx context.Context) error
}
