package learn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

// YAML returns the network: section of a configuration. The comments say what each rule comes from.
func (p Proposal) YAML() string {
	var b strings.Builder
	b.WriteString("network:\n  default: deny\n")
	if len(p.Allow) > 0 {
		b.WriteString("  allow:\n")
	}
	for _, s := range p.Allow {
		writeEntry(&b, s.Entry, s.comment())
	}
	if len(p.Deny) > 0 {
		b.WriteString("  deny:\n")
	}
	for _, e := range p.Deny {
		writeEntry(&b, e, "as it is")
	}
	if len(p.Profiles) > 0 {
		fmt.Fprintf(&b, "  profiles: [%s]\n", strings.Join(p.Profiles, ", "))
	}
	return b.String()
}

// comment is what the suggestion comes from.
func (s Suggestion) comment() string {
	var text string
	switch {
	case s.Kept:
		text = "as it is, used " + times(s.Uses)
	case s.Refused > 0:
		text = "refused " + times(s.Refused)
	default:
		text = "used " + times(s.Uses)
	}
	if s.Unread {
		text += ", unread; under this rule its requests are read, and what is neither TLS nor HTTP is refused"
	}
	return text
}

func times(n uint64) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

func writeEntry(b *strings.Builder, e policy.Entry, comment string) {
	fmt.Fprintf(b, "    # %s\n", comment)
	if e.CIDR != "" {
		fmt.Fprintf(b, "    - cidr: %s\n", word(e.CIDR))
	} else {
		fmt.Fprintf(b, "    - host: %s\n", word(e.Host))
	}
	switch {
	case e.Port != 0:
		fmt.Fprintf(b, "      port: %d\n", e.Port)
	case len(e.Ports) > 0:
		fmt.Fprintf(b, "      ports: [%s]\n", strings.ReplaceAll(strings.Trim(fmt.Sprint(e.Ports), "[]"), " ", ", "))
	}
	for _, field := range []struct{ key, value string }{{"protocol", e.Protocol}, {"tls", e.TLS}, {"why", e.Why}} {
		if field.value != "" {
			fmt.Fprintf(b, "      %s: %s\n", field.key, word(field.value))
		}
	}
	writeList(b, "methods", e.Methods)
	writeList(b, "paths", e.Paths)
}

func writeList(b *strings.Builder, key string, values []string) {
	if len(values) == 0 {
		return
	}
	var words []string
	for _, v := range values {
		words = append(words, word(v))
	}
	fmt.Fprintf(b, "      %s: [%s]\n", key, strings.Join(words, ", "))
}

// word is s as YAML reads it as that text. What is not plainly a word has quotes, in which what policy lets into a
// rule means itself but for these two.
func word(s string) string {
	usual := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", policy.TCP.String(), "tunnel"}
	labels := strings.Split(s, ".")
	_, number := strconv.ParseFloat(s, 64)
	name := len(labels) > 1 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && strings.Trim(s[:1], "abcdefghijklmnopqrstuvwxyz") == ""
	if slices.Contains(usual, s) || name && number != nil {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
