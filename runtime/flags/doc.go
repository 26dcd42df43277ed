// Package flags has command-line flags that an operator can change while the
// program runs.
//
//	var limit = flags.New("echo.limit", 100, "most items in an answer", flags.Validate(atLeast(1)))
//
//	func (e *echo) List(ctx context.Context, r *ListRequest) (*ListResponse, error) {
//		n := limit.Get() // costs what reading an atomic costs
//
// A flag stands on [flag.CommandLine], or on the FlagSet that [In] names, and is
// parsed with all others. From then on a [Set] lists and changes the flags of a
// FlagSet: the status pages of a server do that at /internal/parameters.
//
// Flags of other makers are listed as they were when the Set was made, and cannot
// be changed: package flag's own way, [flag.FlagSet.Set], writes memory that others
// read, and two of them at once end the process. [Dynamic] makes one changeable
// whose owner knows a safe way.
package flags
