package workspace

import (
	"errors"
	"strings"
)

// parseGitFile reads a .git file: "gitdir: PATH" (gitrepository-layout(5)).
func parseGitFile(data []byte) (string, error) {
	target, ok := strings.CutPrefix(string(data), "gitdir: ")
	if !ok {
		return "", errors.New("it does not start with gitdir")
	}
	return parsePathLine([]byte(target))
}

// parsePathLine reads a file that has one path and nothing else, such as commondir.
func parsePathLine(data []byte) (string, error) {
	line := strings.TrimRight(string(data), "\r\n")
	if line == "" || len(line) > 4096 || strings.ContainsAny(line, "\n\r\x00") {
		return "", errors.New("it is not one path")
	}
	return line, nil
}
