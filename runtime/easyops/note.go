package easyops

import (
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/port"
)

// note is what is kept of a connection's calls for the next one.
type note struct{ recall auth.Recall }

func newNote() any { return new(note) }

// recallOf returns the tokens that came by a connection last, nil where it is not known.
func recallOf(u *port.Use) *auth.Recall {
	if n, ok := u.Note().(*note); ok {
		return &n.recall
	}
	return nil
}
