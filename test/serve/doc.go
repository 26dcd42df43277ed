// Package serve runs the example's server as a process of its own, the way
// that users run theirs: built from the checkout, configured by flags, ended
// by signals.
package serve
