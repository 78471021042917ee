package policy

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cleanPath returns a request's path without its query, its escapes decoded once. It is false for one that two
// programs could take for different paths: an escaped slash, backslash or percent sign, which would be another
// escape's, control characters, empty and dot segments, text that is not UTF-8.
func cleanPath(raw string) (string, bool) {
	raw, _, _ = strings.Cut(raw, "?")
	if !strings.HasPrefix(raw, "/") || strings.ContainsAny(raw, `\#`) || strings.Contains(strings.ToLower(raw), "%2f") {
		return "", false
	}
	path, err := url.PathUnescape(raw)
	if err != nil || !utf8.ValidString(path) || strings.ContainsAny(path, `\%`) || strings.ContainsFunc(path, unicode.IsControl) {
		return "", false
	}
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		name, _, _ := strings.Cut(segment, ";") // some servers take what follows away before they look
		if name == "." || name == ".." || name == "" && (segment != "" || i < len(segments)-1) {
			return "", false
		}
	}
	return path, true
}

// barePath is a clean path without what some servers take away before they look: the parameters of its segments,
// and a slash at its end.
func barePath(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return "/" + strings.Trim(strings.Join(segments, "/"), "/")
}

// checkGlob says what is wrong with a pattern for paths.
func checkGlob(glob string) error {
	const longest = 1024
	switch {
	case len(glob) > longest:
		return fmt.Errorf("a path has more than %d bytes", longest)
	case !strings.HasPrefix(glob, "/") && !strings.HasPrefix(glob, "**/"):
		return fmt.Errorf("path %q does not start with a slash", glob)
	case strings.ContainsAny(glob, `%?#;\`):
		return fmt.Errorf("path %q: write it decoded, and without a query or parameters", glob)
	case !utf8.ValidString(glob) || strings.ContainsFunc(glob, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("path %q has characters that cannot be seen", glob)
	}
	segments := strings.Split(strings.TrimPrefix(glob, "/"), "/")
	for i, segment := range segments {
		switch {
		case segment == "." || segment == ".." || segment == "" && i < len(segments)-1:
			return fmt.Errorf("path %q has an empty or a dot segment, which no request that is allowed has", glob)
		case segment != "**" && strings.Contains(segment, "**"):
			return fmt.Errorf("path %q: ** stands alone between slashes", glob)
		}
	}
	return nil
}

// Glob returns the segments of a glob that matches the path that was sent as raw, and little else; false when no
// glob can. A segment that no glob can say becomes a star.
func Glob(raw string) ([]string, bool) {
	path, clear := cleanPath(raw)
	if !clear {
		return nil, false
	}
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		if strings.Contains(segment, "*") || checkGlob("/"+segment) != nil {
			segments[i] = "*"
		}
	}
	return segments, true
}

// matchPath matches a clean path. In a glob, * stands for any text within one segment, ** for any number of
// segments, and at the end for one or more: /a/** is what is below /a, and not /a.
func matchPath(glob, path string) bool {
	want := strings.Split(strings.TrimPrefix(glob, "/"), "/")
	have := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if last := len(want) - 1; want[last] == "**" {
		want = append(want[:last:last], "*", "**")
	}
	return matchAll(want, have, "**", matchSegment)
}

func matchSegment(glob, segment string) bool {
	return matchAll([]byte(glob), []byte(segment), '*', func(g, s byte) bool { return g == s })
}

// matchAll matches all of have, where any in want stands for any number of elements. Only the last such place
// ever has to be tried again, so the time is at most len(want)*len(have) matches.
func matchAll[T comparable](want, have []T, any T, match func(want, have T) bool) bool {
	w, h := 0, 0
	retry, from := -1, 0
	for h < len(have) {
		switch {
		case w < len(want) && want[w] == any:
			retry, from = w+1, h
			w++
		case w < len(want) && match(want[w], have[h]):
			w++
			h++
		case retry >= 0:
			from++
			w, h = retry, from
		default:
			return false
		}
	}
	for w < len(want) && want[w] == any {
		w++
	}
	return w == len(want)
}
