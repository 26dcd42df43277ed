package status

import (
	"fmt"
	"net/http"
)

// Error is an error of a page or an authorizer with the HTTP status that it
// is answered with. Its text is shown to the caller and says what to do.
type Error struct {
	Code int
	Text string

	title string  // of the page that a browser gets instead, where there is one
	body  []Block // of it
	now   []Block // what of it comes before the text for others
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Errorf makes an [Error].
func Errorf(code int, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

func forbidden(format string, args ...any) *Error {
	return Errorf(http.StatusForbidden, format, args...)
}
