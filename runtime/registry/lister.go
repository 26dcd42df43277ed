package registry

import "context"

// Lister is a [Registry] that can say which services there are. Programs that
// call know the names of services and need none; people who look around do.
// Every registry of this module is one.
type Lister interface {
	// Services returns the names of the services of which an instance is
	// listed, of whatever kind and health, sorted and each once. An error
	// means that the registry cannot be asked now, or not within the context;
	// an empty list without an error means that nothing is listed. It may be
	// called concurrently.
	Services(ctx context.Context) ([]string, error)
}
