//go:build !linux

package supervise

// closeInherited does nothing where no backend of ours runs processes that inherit descriptors.
func closeInherited(int) {}
