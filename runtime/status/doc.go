// Package status serves the status API of a server: pages for people, scripts
// and monitoring, each registered, linked, described and protected by one call.
//
// A page returns a [View] of typed data and of plain parts (pairs, tables,
// sections), and never writes HTML: the same view is shown to a browser as
// HTML, to a program as JSON (Accept: application/json or ?format=json) and
// to a terminal as text (anything else, or ?format=text). Every request
// passes the same guards in the same order, see admit in guard.go.
package status
