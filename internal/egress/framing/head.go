package framing

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const crlf = "\r\n"

// head is what a request's head says about the request's end.
type head struct {
	length    int64
	chunked   bool
	authority string // of CONNECT, "" in all others
}

// parseHead checks a request line and headers, each line ended, with the empty line that ends them.
func parseHead(b []byte) (head, error) {
	line, rest, _ := strings.Cut(string(b), crlf)
	method, target, version, err := parseRequestLine(line)
	if err != nil {
		return head{}, err
	}
	fields, err := parseFields(rest)
	if err != nil {
		return head{}, err
	}
	check := checkHost
	if method == http.MethodConnect {
		check = checkConnect
	}
	if err := check(target, fields["host"]); err != nil {
		return head{}, err
	}
	if err := checkServed(b, fields["expect"]); err != nil {
		return head{}, err
	}
	h, err := parseLength(version, fields)
	if method != http.MethodConnect || err != nil {
		return h, err
	}
	if h.chunked || h.length > 0 {
		return head{}, malformed("it is a CONNECT with a body")
	}
	return head{authority: target}, nil
}

// checkServed refuses what net/http's server answers by itself, so that nobody behind it sees the request.
func checkServed(b []byte, expect []string) error {
	if len(expect) > 1 || len(expect) == 1 && !strings.EqualFold(expect[0], "100-continue") {
		return malformed("it expects something else than 100-continue")
	}
	// Its errors quote the whole target, and there are secrets in queries.
	if _, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b))); err != nil {
		return malformed("its target is no URL, or a header is none that HTTP knows")
	}
	return nil
}

func parseRequestLine(line string) (method, target, version string, err error) {
	parts := strings.Split(line, " ")
	if len(parts) != 3 || !isToken(parts[0]) {
		return "", "", "", malformed("its first line is not METHOD TARGET HTTP/1.1")
	}
	method, target, version = parts[0], parts[1], parts[2]
	if version != "HTTP/1.1" && version != "HTTP/1.0" {
		return "", "", "", malformed("its version is not HTTP/1.1")
	}
	visible := func(r rune) bool { return r > ' ' && r < 0x7f }
	if target == "" || strings.ContainsFunc(target, func(r rune) bool { return !visible(r) }) {
		return "", "", "", malformed("its target is not plain ASCII")
	}
	return method, target, version, nil
}

// parseFields returns each field's values by its name in lower case.
func parseFields(text string) (map[string][]string, error) {
	fields := map[string][]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, crlf)
		if line == "" {
			break
		}
		name, value, found := strings.Cut(line, ":")
		// A name with a space before the colon, and a line that begins with one, are no tokens.
		if !found || !isToken(name) {
			return nil, malformed("a header is not NAME: VALUE")
		}
		value = strings.Trim(value, " \t")
		for _, c := range []byte(value) {
			if c < ' ' && c != '\t' || c == 0x7f {
				return nil, malformed("a header has a control character")
			}
		}
		name = strings.ToLower(name)
		fields[name] = append(fields[name], value)
	}
	return fields, nil
}

// checkHost makes sure that there is one answer to whom the request is for (RFC 9112 section 3.2).
func checkHost(target string, hosts []string) error {
	if len(hosts) != 1 || hosts[0] == "" {
		return malformed("it does not have exactly one Host")
	}
	if strings.ContainsFunc(hosts[0], func(r rune) bool { return !isHostRune(r) }) {
		return malformed("its Host is no host")
	}
	_, absolute, found := strings.Cut(target, "://")
	if !found || strings.HasPrefix(target, "/") {
		return nil
	}
	authority := absolute[:strings.IndexAny(absolute+"/", "/?#")]
	if !strings.EqualFold(authority, hosts[0]) {
		return malformed("its target and its Host disagree")
	}
	return nil
}

// checkConnect does the same for CONNECT, whose target is the authority. Some clients send no Host beside it, some
// one without the port.
func checkConnect(target string, hosts []string) error {
	bare := target[:max(0, strings.LastIndexByte(target, ':'))]
	switch {
	case strings.ContainsFunc(target, func(r rune) bool { return !isHostRune(r) }):
		return malformed("its target is not HOST:PORT")
	case len(hosts) > 1, len(hosts) == 1 && !strings.EqualFold(hosts[0], target) && !strings.EqualFold(hosts[0], bare):
		return malformed("its target and its Host disagree")
	}
	return nil
}

// parseLength finds where the body ends (RFC 9112 section 6.3), where there is only one answer to that.
func parseLength(version string, fields map[string][]string) (head, error) {
	lengths, encodings := fields["content-length"], fields["transfer-encoding"]
	switch {
	case len(encodings) > 0 && (len(lengths) > 0 || version != "HTTP/1.1"):
		return head{}, malformed("it has a Transfer-Encoding where it must not")
	case len(encodings) > 1, len(encodings) == 1 && !strings.EqualFold(encodings[0], "chunked"):
		return head{}, malformed("its Transfer-Encoding is not chunked")
	case len(encodings) == 1:
		return head{chunked: true}, nil
	case len(lengths) > 1:
		return head{}, malformed("it has more than one Content-Length")
	case len(lengths) == 0:
		return head{}, nil
	}
	n, err := strconv.ParseUint(lengths[0], 10, 63)
	if err != nil || strings.Trim(lengths[0], "0123456789") != "" {
		return head{}, malformed("its Content-Length is not a number")
	}
	return head{length: int64(n)}, nil
}

// parseChunkSize reads the line before a chunk. Extensions are refused: nobody sends any, and where they end
// is read in different ways (CVE-2025-55315).
func parseChunkSize(line []byte) (int64, error) {
	digits, ok := strings.CutSuffix(string(line), crlf)
	n, err := strconv.ParseUint(digits, 16, 63)
	if !ok || err != nil || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return 0, malformed("a chunk's size is not a number")
	}
	return int64(n), nil
}

// checkTrailer refuses fields that would frame the request anew.
func checkTrailer(b []byte) error {
	fields, err := parseFields(string(b))
	if err != nil {
		return err
	}
	for _, name := range []string{"host", "content-length", "transfer-encoding", "trailer"} {
		if _, there := fields[name]; there {
			return malformed("its trailer has a field that belongs into the head")
		}
	}
	return nil
}

// isHostRune leaves out what some programs cut a host at: users, paths, lists, escapes.
func isHostRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._:[]", r)
}

func isToken(s string) bool {
	const special = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(special, r))
	})
}

func checkLineEnd(line []byte) error {
	if !bytes.HasSuffix(line, []byte(crlf)) || slices.Contains(line[:len(line)-len(crlf)], '\r') {
		return malformed("a line does not end in CRLF")
	}
	return nil
}

// lastLine is where the line begins that has not ended yet.
func lastLine(b []byte) int { return bytes.LastIndexByte(b, '\n') + 1 }
