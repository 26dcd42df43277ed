package auth

import "time"

// Source is something outside of the program that identity rests on: a file or
// an issuer, which is read again when it changes. What was read last stays in
// force while it cannot be read.
type Source interface {
	// Refresh looks whether there is something new, and reads it. It is called
	// once a second, by one goroutine, and must not block for long.
	Refresh(now time.Time)
	// State says what is in force. It may be called concurrently.
	State() SourceState
}

// SourceState is what a page shows of a [Source].
type SourceState struct {
	Name    string    // such as "certificate", "authorities" or "keys"
	Where   string    // its files or URL
	What    string    // what is in force, for people: subjects, key IDs
	Since   time.Time // when that was read
	Expires time.Time // of what is in force; zero is never
	Err     error     // why what is there now is not in force; nil where all is well
}
