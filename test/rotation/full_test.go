//go:build real

package rotation

const (
	// rounds is how often files rotate.
	rounds = 5
	full   = true
)
