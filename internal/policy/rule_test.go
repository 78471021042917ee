package policy

import (
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	tests := []struct{ in, want string }{
		{"github.com", "github.com"},
		{"GitHub.com.", "github.com"},
		{"github.com:443", "github.com:443"},
		{"github.com:443,22,443", "github.com:22,443"},
		{"*.npmjs.org", "*.npmjs.org"},
		{"*.npmjs.org:443", "*.npmjs.org:443"},
		{"private:db.internal:5432", "private:db.internal:5432"},
		{"private:*.corp.test", "private:*.corp.test"},
		{"private:10.0.0.1:80", "10.0.0.1:80"},
		{"1.2.3.4", "1.2.3.4"},
		{"1.2.3.4:80", "1.2.3.4:80"},
		{"127.0.0.1:8080", "127.0.0.1:8080"},
		{"2606:4700::1111", "2606:4700::1111"},
		{"[2606:4700::1111]", "2606:4700::1111"},
		{"[2606:4700::1111]:443", "[2606:4700::1111]:443"},
		{"tcp:db.test:5432", "tcp:db.test:5432"},
		{"private:tcp:db.test:5432", "private:tcp:db.test:5432"},
		{"tcp:private:db.test:5432", "private:tcp:db.test:5432"},
		{"tunnel:pinned.test", "tunnel:pinned.test"},
		{"tcp:10.0.0.1:5432", "tcp:10.0.0.1:5432"},
		{"10.0.0.0/8:80", "10.0.0.0/8:80"},
		{"private:10.0.0.0/8", "10.0.0.0/8"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"private:0.0.0.0/0", "private:0.0.0.0/0"},
		{"fd00::/8", "fd00::/8"},
		{"[fd00::/8]:443", "[fd00::/8]:443"},
		{"1.2.3.4/32", "1.2.3.4"},
	}
	for _, tt := range tests {
		r, err := ParseRule(tt.in, "test")
		if err != nil || r.String() != tt.want {
			t.Errorf("ParseRule(%q) = %q, %v; want %q", tt.in, r, err, tt.want)
			continue
		}
		if r.Verdict != Allow || r.Origin != "test" {
			t.Errorf("ParseRule(%q): %s, origin %q", tt.in, r.Verdict, r.Origin)
		}
		again, err := ParseRule(r.String(), "test")
		if err != nil || again.String() != r.String() || again.Private != r.Private {
			t.Errorf("rule %s reads again as %s, %v", r, again, err)
		}
	}
	for text, want := range map[string]bool{"10.0.0.1": true, "8.8.8.8": false, "db.test": false, "private:db.test": true} {
		if r, err := ParseRule(text, ""); err != nil || r.Private != want {
			t.Errorf("rule %s: private is %v, %v", text, r.Private, err)
		}
	}
}

func TestParseRuleRefusesAndSaysTheCure(t *testing.T) {
	tests := []struct{ in, cure string }{
		{"", "empty label"}, {":443", "empty label"}, {"private:", "empty label"},
		{"*", "*.DOMAIN"}, {"*:443", "*.DOMAIN"}, {"*.com", "*.DOMAIN.com"},
		{"https://github.com/", "not a URL"}, {"github.com/acme", "not a URL"}, {"10.0.0.1/8", "write 10.0.0.0/8"}, {"10.0.0.0/33", "at most 32"},
		{"10.0.0.0/08", "at most 32"}, {"10.0.0.0/-1", "at most 32"}, {"10.0.0.0/", "at most 32"}, {"fd00::/129", "at most 128"},
		{"tcp:db.test", "tcp:HOST:PORT"}, {"tcp:tunnel:db.test:1", "leave the tunnel away"}, {"tcp:tcp:db.test:1", "not allowed"},
		{"tunnel:https://a.test", "not a URL"},
		{"github.com:", "1 to 65535"}, {"github.com:0", "1 to 65535"}, {"github.com:65536", "1 to 65535"},
		{"github.com:+80", "1 to 65535"}, {"github.com:080", "1 to 65535"}, {"github.com:https", "1 to 65535"},
		{"github.com:80,", "1 to 65535"}, {"github.com: 80", "1 to 65535"}, {"github.com:80-90", "1 to 65535"},
		{"127.1", "reads as an IP address"}, {"0x7f.1:80", "reads as an IP address"}, {"2130706433", "reads as an IP address"},
		{"2606:4700:0::1111", "write 2606:4700::1111"}, {"[2606:4700::ABCD]:80", "write 2606:4700::abcd"},
		{"::ffff:1.2.3.4", "write 1.2.3.4"}, {"[::1", "[ADDRESS]:PORT"}, {"[1.2.3.4]:80", "[ADDRESS]:PORT"}, {"[github.com]:80", "[ADDRESS]:PORT"},
		{"fe80::1%eth0", "write fe80::1"}, {"0.0.0.0", "never be reached"}, {"224.0.0.1", "never be reached"}, {"198.18.0.5", "never be reached"},
		{"localhost:3000", "the sandbox itself"}, {"a.localhost.", "the sandbox itself"},
		{"bücher.de", "xn--bcher-kva.de"}, {"a b", "not allowed"}, {"evil.test\x00.github.com", "not allowed"},
		{"user@github.com", "not allowed"}, {"private:private:a.test", "is not a port"},
	}
	for _, tt := range tests {
		r, err := ParseRule(tt.in, "test")
		if err == nil {
			t.Errorf("ParseRule(%q) = %s, want an error", tt.in, r)
		} else if !strings.Contains(err.Error(), tt.cure) {
			t.Errorf("ParseRule(%q): %q does not say %q", tt.in, err, tt.cure)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"github.com:443", "*.a.test", "private:db.test:1,2", "[::1]:80", "10.0.0.1", "[::1", "a:b:c", "tcp:tunnel:a:1", "10.0.0.0/8:1", "[fd00::/8]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRule(s, "")
		if err != nil {
			return
		}
		again, err := ParseRule(r.String(), "")
		if err != nil || again.String() != r.String() {
			t.Fatalf("ParseRule(%q) = %s, which reads as %s, %v", s, r, again, err)
		}
	})
}
