package hostname

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("a", 63)
	tests := []struct{ name, in, want string }{
		{"a plain name stays", "github.com", "github.com"},
		{"capitals are lowered", "GitHub.COM", "github.com"},
		{"one trailing dot is removed", "github.com.", "github.com"},
		{"a single label is a name", "db", "db"},
		{"digits may start a label", "1password.com", "1password.com"},
		{"an address inside a longer name is a name", "127.0.0.1.nip.io", "127.0.0.1.nip.io"},
		{"hyphens in the third and fourth place are in use", "r3---sn-abc.example.com", "r3---sn-abc.example.com"},
		{"unicode becomes punycode", "bücher.de", "xn--bcher-kva.de"},
		{"sharp s is its own letter", "faß.de", "xn--fa-hia.de"},
		{"punycode stays", "xn--bcher-kva.de", "xn--bcher-kva.de"},
		{"punycode is lowered", "XN--BCHER-KVA.de", "xn--bcher-kva.de"},
		{"a label of 63 bytes is the longest", long + ".com", long + ".com"},
		{"253 bytes are the longest", strings.Repeat("a.", 125) + "com", strings.Repeat("a.", 125) + "com"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.in)
			if err != nil || string(got) != tt.want {
				t.Errorf("Parse(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, in string }{
		{"nothing", ""}, {"the root", "."}, {"two trailing dots", "github.com.."},
		{"an empty label", "a..b"}, {"a leading dot", ".github.com"},
		{"NUL that ends a C string", "evil.test\x00.github.com"},
		{"CR", "a\r.com"}, {"LF", "a.com\n"}, {"tab", "a\t.com"}, {"space", "a b.com"},
		{"percent encoding", "a%00.com"}, {"backslash", `a\.com`}, {"escaped decimal", `a\046com`},
		{"user info", "github.com@evil.test"}, {"fragment", "evil.test#github.com"},
		{"slash", "a/b"}, {"colon", "github.com:443"}, {"star", "*.github.com"},
		{"underscore", "my_host.com"}, {"leading hyphen", "-a.com"}, {"trailing hyphen", "a-.com"},
		{"a label of 64 bytes", strings.Repeat("a", 64) + ".com"},
		{"254 bytes", strings.Repeat("a.", 125) + "comm"},
		{"a very long Unicode label", strings.Repeat("ü", 2000)},
		{"full-width letter", "ｇithub.com"}, {"circled digits", "①②⑦.⓪.⓪.①"},
		{"full-width digits", "１２７.0.0.1"}, {"ideographic full stop", "github。com"},
		{"Kelvin sign", "\u212ait.com"}, {"Unicode capital", "BÜCHER.de"},
		{"zero-width joiner", "git\u200dhub.com"}, {"soft hyphen", "git\u00adhub.com"},
		{"invalid UTF-8", "a\xff.com"},
		{"punycode of plain ASCII", "xn--github-.com"}, {"broken punycode", "xn--a.com"},
		{"empty punycode", "xn--.com"}, {"punycode at the end", "com.xn--"},
		{"IPv4", "127.0.0.1"}, {"IPv4 and a dot", "127.0.0.1."}, {"short IPv4", "127.1"},
		{"hex", "0x7f.1"}, {"all hex", "0x7f000001"}, {"hex capital", "0X7F000001"}, {"empty hex", "0x"},
		{"octal", "0177.0.0.1"}, {"one number", "2130706433"}, {"zero", "0"},
		{"long number", "4294967297"}, {"five numbers", "1.2.3.4.5"}, {"hex at the end", "a.b.0xff"},
		{"IPv6", "::1"}, {"bracketed IPv6", "[::1]"}, {"zone", "fe80::1%eth0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := Parse(tt.in); err == nil {
				t.Errorf("Parse(%q) = %q, want an error", tt.in, got)
			}
		})
	}
}

func TestPattern(t *testing.T) {
	exact, wild := "github.com", "*.wild.test"
	tests := []struct {
		pattern, host string
		want          bool
	}{
		{exact, "github.com", true},
		{exact, "GITHUB.COM", true},
		{exact, "github.com.", true},
		{exact, "api.github.com", false},
		{exact, "evil-github.com", false},
		{exact, "github.com.evil.test", false},
		{exact, "githubxcom", false},
		{exact, "xn--gthub-zva.com", false},
		{"GitHub.com.", "github.com", true},
		{wild, "a.wild.test", true},
		{wild, "a.b.wild.test", true},
		{wild, "wild.test", false},
		{wild, "evilwild.test", false},
		{wild, "wild.test.evil", false},
		{wild, "a.wild.test.evil.test", false},
	}
	for _, tt := range tests {
		p, err := ParsePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Parse(tt.host)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(n); got != tt.want {
			t.Errorf("pattern %s, host %s: %v, want %v", tt.pattern, tt.host, got, tt.want)
		}
		if again, err := ParsePattern(p.String()); err != nil || again != p {
			t.Errorf("pattern %s does not survive being written as %s", tt.pattern, p)
		}
	}
	if (Pattern{}).Match("") || (Pattern{}).Match("a.test") || (Pattern{wild: true}).Match("a.test") {
		t.Error("the zero pattern matches something")
	}
}

func TestParsePatternRefuses(t *testing.T) {
	tests := []struct{ in, cure string }{
		{"*", "*.DOMAIN"}, {"*.", "*.DOMAIN"}, {"*..", "*.DOMAIN"}, {"**", "*.DOMAIN"},
		{"*.com", "*.DOMAIN.com"}, {"*.com.", "*.DOMAIN.com"},
		{"a.*.com", "*.DOMAIN"}, {"*a.com", "*.DOMAIN"}, {"git*.com", "*.DOMAIN"}, {"*.*.com", "*.DOMAIN"},
		{"bücher.de", "write xn--bcher-kva.de"}, {"*.bücher.de", "write *.xn--bcher-kva.de"},
		{"", "empty label"}, {"127.0.0.1", "reads as an IP address"}, {"*.0.0.1", "reads as an IP address"},
	}
	for _, tt := range tests {
		p, err := ParsePattern(tt.in)
		if err == nil {
			t.Errorf("ParsePattern(%q) = %v, want an error", tt.in, p)
		} else if !strings.Contains(err.Error(), tt.cure) {
			t.Errorf("ParsePattern(%q): %q does not say %q", tt.in, err, tt.cure)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"github.com.", "bücher.de", "xn--bcher-kva.de", "0x7f.1", "a\x00b", "*.a.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(string(n)); err != nil || again != n {
			t.Fatalf("Parse(%q) = %q, which parses as %q, %v", s, n, again, err)
		}
		if len(n) > MaxName || strings.Trim(string(n), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			t.Fatalf("Parse(%q) = %q", s, n)
		}
		if a, err := ParseAddr(string(n)); err == nil {
			t.Fatalf("%q is both a name and the address %s", n, a)
		}
	})
}
