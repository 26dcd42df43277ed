// Package operate tests the command line of operators on servers that are
// processes, as they run it: in a terminal, and with a browser.
package operate
