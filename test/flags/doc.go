// Package flags holds tests of dynamic flags in a whole server: many who change and
// read them at once, and secrets that must be seen nowhere.
package flags
