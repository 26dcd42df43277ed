package easyops

import "context"

// NoteInstance has the line in the access log say which instance answered, by ID or
// address. It is for handlers of a [Route], with the context of the request or call;
// the last one counts. A line without an instance is of one that the server answered
// itself. With any other context it does nothing.
func NoteInstance(ctx context.Context, instance string) {
	if c, ok := ctx.Value(callKey{}).(*call); ok && c.method.routed {
		c.instance.Store(&instance)
	}
}
