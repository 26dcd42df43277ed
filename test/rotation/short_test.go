//go:build !real

package rotation

const (
	// rounds is how often files rotate.
	rounds = 1
	// full has the issuer rotate more than once, which takes 15 s each time.
	full = false
)
