// Package run runs "easyops edge" as a process of its own, as users do: built
// from the checkout, told by a file of routes and flags, ended by signals.
package run
