// Package secure runs example/secure as its reader would.
package secure
