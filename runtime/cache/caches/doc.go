// Package caches lists and clears the caches of a process, whoever has made
// them. It has no cache itself, so that who only lists them does not link what
// package cache is made of.
package caches
