package credential

import "strings"

// parts are the pieces of a value that programs send apart from one another.
func parts(value string) []string { return strings.Split(value, ":") }
