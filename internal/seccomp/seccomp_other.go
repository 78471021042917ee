//go:build !linux

// Package seccomp holds the list of system calls that a sandbox may make. Only Linux has such filters:
// elsewhere it is empty.
package seccomp
