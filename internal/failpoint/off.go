//go:build !failpoint

// Package failpoint makes a process fail where it has just changed something outside of itself: a file, a
// process, a mount, a control group. Each such place on the way of create, start, exec, stop and rm has a
// name, given to Hit. In a normal build Hit is nothing at all; a binary built with the tag failpoint, as
// the tests in test/fault do, reads from its environment which of them strikes, and how. No decision may
// ever depend on this package.
package failpoint

// Hit says that the place called name has been reached. Its error is the failure that a test asked for: the
// caller treats it as that of the step that it has just taken.
func Hit(string) error { return nil }

// Environ is the environment of a process that gets none.
func Environ() []string { return []string{} }
