//go:build !unix

package easyops

func isInUse(error) bool { return false }
