package policy

import (
	"reflect"
	"strings"
	"testing"
)

func TestEntry(t *testing.T) {
	tests := []struct {
		entry Entry
		want  string
	}{
		{Entry{Host: "*.npmjs.org"}, "*.npmjs.org"},
		{Entry{Host: "api.github.com", Methods: []string{"GET"}, Paths: []string{"/repos/acme/**"}}, "api.github.com (GET /repos/acme/**)"},
		{Entry{Host: "db.internal", Port: 5432, Protocol: "tcp", Private: true}, "private:tcp:db.internal:5432"},
		{Entry{Host: "a.test", Ports: []int{8443, 443}, TLS: "tunnel"}, "tunnel:a.test:443,8443"},
		{Entry{Host: "a.test", Protocol: "http", TLS: "inspect"}, "a.test"},
		{Entry{CIDR: "10.0.0.0/8", Port: 80}, "10.0.0.0/8:80"},
		{Entry{CIDR: "fd00::/8", Port: 80}, "[fd00::/8]:80"},
		{Entry{Host: "10.0.0.1"}, "10.0.0.1"},
		{Entry{Host: "2606:4700::1"}, "2606:4700::1"},
		{Entry{CIDR: "0.0.0.0/0", Private: true}, "private:0.0.0.0/0"},
		{Entry{Host: "a.test", Why: "for the mock-ups, «schön»"}, "a.test"},
		{Entry{Host: "a.test", Why: strings.Repeat("a", 200)}, "a.test"},
	}
	for _, tt := range tests {
		r, err := tt.entry.Rule(Allow, "test")
		if err != nil || r.String() != tt.want {
			t.Errorf("%+v: %s, %v; want %s", tt.entry, r, err, tt.want)
			continue
		}
		again, err := r.Entry().Rule(Allow, "test")
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%+v does not survive: %+v, %v", r, again, err)
		}
	}
	r, err := Entry{Host: "10.0.0.1", Methods: []string{"POST"}}.Rule(Deny, "test")
	if err != nil || r.Verdict != Deny {
		t.Errorf("a denial: %+v, %v", r, err)
	}
	if again, err := r.Entry().Rule(Deny, "test"); err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("%+v does not survive: %+v, %v", r, again, err)
	}
}

func TestEntryRefuses(t *testing.T) {
	tests := []struct {
		entry Entry
		v     Verdict
		want  string
	}{
		{Entry{}, Allow, "host is missing"},
		{Entry{Host: "a.test", CIDR: "10.0.0.0/8"}, Allow, "write two rules"},
		{Entry{CIDR: "10.0.0.1"}, Allow, "write ADDRESS/BITS"},
		{Entry{CIDR: "a.test/8"}, Allow, "write HOST"},
		{Entry{Host: "10.0.0.0/8"}, Allow, "as cidr"},
		{Entry{Host: "a.test:443"}, Allow, "not allowed there"},
		{Entry{Host: "https://a.test"}, Allow, "not a host"},
		{Entry{Host: "*"}, Allow, "every host"},
		{Entry{Host: "a.test", Port: 70000}, Allow, "not a port"},
		{Entry{Host: "a.test", Port: -1}, Allow, "not a port"},
		{Entry{Host: "a.test", Ports: []int{0}}, Allow, "not a port"},
		{Entry{Host: "a.test", Port: 1, Ports: []int{1}}, Allow, "leave one away"},
		{Entry{Host: "a.test", Protocol: "udp"}, Allow, `unknown protocol "udp"`},
		{Entry{Host: "a.test", Protocol: "TCP", Port: 1}, Allow, "unknown protocol"},
		{Entry{Host: "a.test", Protocol: "any", Port: 1}, Allow, "unknown protocol"},
		{Entry{Host: "a.test", TLS: "off"}, Allow, "unknown tls"},
		{Entry{Host: "a.test", Protocol: "tcp"}, Allow, "needs a port"},
		{Entry{Host: "a.test", Protocol: "tcp", Port: 1, TLS: "tunnel"}, Allow, "leave the tunnel away"},
		{Entry{Host: "a.test", TLS: "tunnel", Methods: []string{"GET"}}, Allow, "cannot be seen"},
		{Entry{Host: "a.test", TLS: "tunnel", Paths: []string{"/a"}}, Allow, "cannot be seen"},
		{Entry{Host: "a.test", Protocol: "tcp", Port: 1, Paths: []string{"/a"}}, Allow, "cannot be seen"},
		{Entry{Host: "a.test", Methods: []string{"get"}}, Allow, "capitals"},
		{Entry{Host: "a.test", Methods: []string{""}}, Allow, "capitals"},
		{Entry{Host: "a.test", Paths: []string{"a"}}, Allow, "start with a slash"},
		{Entry{Host: "a.test", Paths: []string{"/a//b"}}, Allow, "empty or a dot segment"},
		{Entry{Host: "a.test", Paths: []string{"/a/../b"}}, Allow, "empty or a dot segment"},
		{Entry{Host: "a.test", Paths: []string{"/a%20b"}}, Allow, "decoded"},
		{Entry{Host: "a.test", Paths: []string{"/a?b"}}, Allow, "without a query"},
		{Entry{Host: "a.test", Paths: []string{"/a**/b"}}, Allow, "stands alone"},
		{Entry{Host: "a.test", Paths: []string{"/a\x1b[2J"}}, Allow, "cannot be seen"},
		{Entry{Host: "a.test", Paths: []string{"/a\u202eb"}}, Allow, "cannot be seen"},
		{Entry{Host: "a.test", Paths: []string{"/" + strings.Repeat("a", 2000)}}, Allow, "more than"},
		{Entry{Host: "a.test", Methods: make([]string, 200)}, Allow, "more than"},
		{Entry{Host: "a.test", Why: strings.Repeat("a", 201)}, Allow, "more than 200 bytes"},
		{Entry{Host: "a.test", Why: "two\nlines"}, Allow, "one line"},
		{Entry{Host: "a.test", Why: "\x1b[2J"}, Deny, "one line"},
		{Entry{Host: "a.test", Why: "a\u202eb"}, Allow, "one line"},
		{Entry{Host: "a.test", Why: "\xff"}, Allow, "one line"},
		{Entry{Host: "a.test", Protocol: "tcp"}, Deny, "every protocol"},
		{Entry{Host: "a.test", TLS: "inspect"}, Deny, "every protocol"},
		{Entry{Host: "a.test", Private: true}, Deny, "every protocol"},
		{Entry{Port: -1, Protocol: "x"}, Allow, "host is missing; -1 is not a port"},
	}
	for _, tt := range tests {
		r, err := tt.entry.Rule(tt.v, "test")
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") || !reflect.DeepEqual(r, Rule{}) {
			t.Errorf("%+v: %s, %v; want %s", tt.entry, r, err, tt.want)
		}
	}
}

func FuzzEntry(f *testing.F) {
	f.Add("a.test", "", 443, "tcp", "", "GET", "/a/**", "its model", false)
	f.Add("", "10.0.0.0/8", 0, "", "tunnel", "", "", "\u2028", true)
	f.Fuzz(func(t *testing.T, host, cidr string, port int, protocol, tls, method, path, why string, deny bool) {
		e := Entry{Host: host, CIDR: cidr, Port: port, Protocol: protocol, TLS: tls, Why: why}
		if method != "" {
			e.Methods = []string{method}
		}
		if path != "" {
			e.Paths = []string{path}
		}
		v := Allow
		if deny {
			v = Deny
		}
		r, err := e.Rule(v, "")
		if err != nil {
			return
		}
		if strings.ContainsAny(r.Why, "\n\r\t\x1b\u2028\u202e") || len(r.Why) > 200 {
			t.Fatalf("the reason is %q", r.Why)
		}
		again, err := r.Entry().Rule(v, "")
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v reads as %+v, which reads as %+v, %v", e, r, again, err)
		}
	})
}
