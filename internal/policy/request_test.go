package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// limitedRules makes a policy out of lines of the form [deny] TEXT [METHOD…] [PATH…].
func limitedRules(t *testing.T, lines ...string) *Policy {
	t.Helper()
	p := &Policy{}
	for _, line := range lines {
		words := strings.Fields(line)
		deny := words[0] == "deny"
		if deny {
			words = words[1:]
		}
		r := rules(t, words[0]).Rules[0]
		for _, word := range words[1:] {
			if strings.ContainsAny(word, "/") {
				if err := checkGlob(word); err != nil {
					t.Fatal(err)
				}
				r.Paths = append(r.Paths, word)
			} else {
				r.Methods = append(r.Methods, word)
			}
		}
		if deny {
			r.Verdict = Deny
		}
		if err := r.check(); err != nil {
			t.Fatal(err)
		}
		p.Rules = append(p.Rules, r)
	}
	return p
}

func TestDecideRequests(t *testing.T) {
	read := []string{"api.test GET HEAD /repos/acme/**"}
	tests := []struct {
		name    string
		rules   []string
		request string // [METHOD] HOST:PORT[/PATH]
		want    Verdict
	}{
		{"a connection for some requests", read, "api.test:443", Allow},
		{"its other port", read, "api.test:22", Deny},
		{"another host", read, "GET api2.test:443/repos/acme/x", Deny},
		{"the method and the path", read, "GET api.test:443/repos/acme/x", Allow},
		{"the other method", read, "HEAD api.test:443/repos/acme/x/y", Allow},
		{"another method", read, "POST api.test:443/repos/acme/x", Deny},
		{"a method in small letters", read, "get api.test:443/repos/acme/x", Deny},
		{"a method with something behind it", read, "GETX api.test:443/repos/acme/x", Deny},
		{"another path", read, "GET api.test:443/repos/evil/x", Deny},
		{"a path that goes on after the name", read, "GET api.test:443/repos/acmeevil/x", Deny},
		{"the directory itself", read, "GET api.test:443/repos/acme", Deny},
		{"the directory with a slash", read, "GET api.test:443/repos/acme/", Allow},
		{"a path in capitals", read, "GET api.test:443/REPOS/acme/x", Deny},
		{"no path", read, "GET api.test:443", Deny},
		{"the query is not the path", read, "GET api.test:443/x?/repos/acme/x", Deny},
		{"a query behind it", read, "GET api.test:443/repos/acme/x?y=../../z", Allow},
		{"a path that leaves", read, "GET api.test:443/repos/acme/../evil", Deny},
		{"a path that leaves with escapes", read, "GET api.test:443/repos/acme/%2e%2E/evil", Deny},
		{"half an escape", read, "GET api.test:443/repos/acme/.%2e/evil", Deny},
		{"an escaped slash", read, "GET api.test:443/repos/acme/..%2fevil", Deny},
		{"an escaped slash that leads nowhere", read, "GET api.test:443/repos/acme/a%2Fb", Deny},
		{"escaped twice", read, "GET api.test:443/repos/acme/%252e%252e/evil", Deny},
		{"a backslash", read, `GET api.test:443/repos/acme/..\evil`, Deny},
		{"an escaped backslash", read, "GET api.test:443/repos/acme/..%5Cevil", Deny},
		{"NUL", read, "GET api.test:443/repos/acme/x%00.png", Deny},
		{"a line feed", read, "GET api.test:443/repos/acme/x%0ay", Deny},
		{"two slashes", read, "GET api.test:443/repos//acme/x", Deny},
		{"two slashes at the start", read, "GET api.test:443//repos/acme/x", Deny},
		{"a dot", read, "GET api.test:443/repos/acme/./x", Deny},
		{"a parameter on dots", read, "GET api.test:443/repos/acme/..;/evil", Deny},
		{"a parameter on nothing", read, "GET api.test:443/repos/acme/;x/evil", Deny},
		{"a parameter on a name", read, "GET api.test:443/repos/acme/x;v=1", Allow},
		{"an escape that is none", read, "GET api.test:443/repos/acme/%zz", Deny},
		{"an escape that is cut", read, "GET api.test:443/repos/acme/%2", Deny},
		{"overlong UTF-8", read, "GET api.test:443/repos/acme/%c0%ae%c0%ae/evil", Deny},
		{"an absolute address", read, "GET api.test:443http://evil.test/repos/acme/x", Deny},
		{"a fragment", read, "GET api.test:443/repos/acme/x#/..", Deny},
		{"harmless escapes", read, "GET api.test:443/repos/%61cme/a%20b", Allow},
		{"dots in a name", read, "GET api.test:443/repos/acme/..x/y..", Allow},

		{"methods without paths", []string{"api.test GET"}, "GET api.test:443/a%2fb", Allow},
		{"methods without paths, another", []string{"api.test GET"}, "PUT api.test:443/a", Deny},
		{"paths without methods", []string{"api.test /a/*"}, "PUT api.test:443/a/b", Allow},
		{"a star keeps to its segment", []string{"api.test /a/*"}, "PUT api.test:443/a/b/c", Deny},
		{"two stars in front", []string{"api.test POST **/git-upload-pack"}, "POST api.test:443/a/b.git/git-upload-pack", Allow},
		{"two stars in front, the other service", []string{"api.test POST **/git-upload-pack"}, "POST api.test:443/a/b.git/git-receive-pack", Deny},
		{"a second rule adds methods", append(read, "api.test DELETE /tmp/*"), "DELETE api.test:443/tmp/x", Allow},
		{"rules do not mix", append(read, "api.test DELETE /tmp/*"), "DELETE api.test:443/repos/acme/x", Deny},
		{"a rule without limits opens all", append(read, "api.test"), "DELETE api.test:443/a/../b", Allow},

		{"a limited denial spares the connection", []string{"api.test", "deny api.test DELETE"}, "api.test:443", Allow},
		{"a limited denial", []string{"api.test", "deny api.test DELETE"}, "DELETE api.test:443/x", Deny},
		{"a limited denial, before", []string{"deny api.test DELETE", "api.test"}, "DELETE api.test:443/x", Deny},
		{"a limited denial spares others", []string{"api.test", "deny api.test DELETE"}, "GET api.test:443/x", Allow},
		{"a limited denial in small letters", []string{"api.test", "deny api.test DELETE"}, "delete api.test:443/x", Deny},
		{"a denied path", []string{"api.test", "deny api.test /admin/**"}, "GET api.test:443/admin/x", Deny},
		{"a denied path, elsewhere", []string{"api.test", "deny api.test /admin/**"}, "GET api.test:443/x", Allow},
		{"a denied path in capitals", []string{"api.test", "deny api.test /admin/**"}, "GET api.test:443/Admin/x", Deny},
		{"a denied path with escapes", []string{"api.test", "deny api.test /admin/**"}, "GET api.test:443/%61dmin/x", Deny},
		{"a denied path with parameters", []string{"api.test", "deny api.test /admin/**"}, "GET api.test:443/admin;a=b/x", Deny},
		{"a denied path with escaped parameters", []string{"api.test", "deny api.test /admin/**"}, "GET api.test:443/admin%3ba/x", Deny},
		{"a denied path with a slash behind", []string{"api.test", "deny api.test /admin"}, "GET api.test:443/admin/", Deny},
		{"below a denied path", []string{"api.test", "deny api.test /admin"}, "GET api.test:443/admin/x", Allow},
		{"the root is denied", []string{"api.test", "deny api.test /"}, "GET api.test:443/", Deny},
		{"only the root is denied", []string{"api.test", "deny api.test /"}, "GET api.test:443/x", Allow},
		{"an unclear path is a denied one", []string{"api.test", "deny api.test /admin/**"}, "GET api.test:443/x%2fy", Deny},
		{"an unclear path with another method", []string{"api.test", "deny api.test POST /admin/**"}, "GET api.test:443/x%2fy", Allow},
		{"a denial of the host", []string{"api.test GET", "deny api.test"}, "GET api.test:443/x", Deny},
		{"a denial of a wildcard", []string{"api.wild.test GET", "deny *.wild.test"}, "api.wild.test:443", Deny},

		{"a network", []string{"10.1.0.0/16:5432"}, "10.1.2.3:5432", Allow},
		{"a network's neighbour", []string{"10.1.0.0/16:5432"}, "10.2.0.1:5432", Deny},
		{"a network's other port", []string{"10.1.0.0/16:5432"}, "10.1.2.3:443", Deny},
		{"every network is every public one", []string{"0.0.0.0/0:80"}, "8.8.8.8:80", Allow},
		{"every network is none inside", []string{"0.0.0.0/0:80"}, "10.0.0.1:80", Deny},
		{"every private network is not the metadata's", []string{"private:0.0.0.0/0:80"}, "169.254.169.254:80", Deny},
		{"every private network", []string{"private:0.0.0.0/0:80"}, "10.0.0.1:80", Allow},
		{"a network is no name", []string{"0.0.0.0/0"}, "api.test:443", Deny},
		{"a denied part of a network", []string{"10.0.0.0/8:80", "deny 10.9.0.0/16"}, "10.9.1.1:80", Deny},
		{"the rest of it", []string{"10.0.0.0/8:80", "deny 10.9.0.0/16"}, "10.8.1.1:80", Allow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := limitedRules(t, tt.rules...).Decide(wholeRequest(t, tt.request))
			if d.Verdict != tt.want || d.Reason == "" || d.Verdict == Deny && strings.Contains(d.Reason, "evil/") {
				t.Errorf("%s: %s (%s), want %s", tt.request, d.Verdict, d.Reason, tt.want)
			}
		})
	}
}

// wholeRequest reads [METHOD ]HOST:PORT[PATH].
func wholeRequest(t *testing.T, s string) Request {
	t.Helper()
	method, rest, found := strings.Cut(s, " ")
	if !found {
		method, rest = "", s
	}
	end := strings.Index(rest, ":")
	if i := strings.Index(rest, "]:"); i >= 0 {
		end = i + 1
	}
	digits := end + 1
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	req := request(t, rest[:digits])
	req.Method, req.Path = method, rest[digits:]
	return req
}

func TestDecisionsSayWhatToDoWithTheBytes(t *testing.T) {
	tests := []struct {
		name     string
		rules    []string
		open     bool
		request  string
		protocol Protocol
		tunnel   bool
		inspect  bool
	}{
		{"a plain rule", []string{"a.test"}, false, "a.test:443", HTTP, false, false},
		{"tcp", []string{"tcp:a.test:22"}, false, "a.test:22", TCP, false, false},
		{"tcp is for its port", []string{"tcp:a.test:22", "a.test"}, false, "a.test:443", HTTP, false, false},
		{"a tunnel", []string{"tunnel:a.test"}, false, "a.test:443", HTTP, true, false},
		{"a limited rule", []string{"a.test GET"}, false, "a.test:443", HTTP, false, true},
		{"a second one without limits", []string{"a.test GET", "a.test"}, false, "a.test:443", HTTP, false, false},
		{"a second one that tunnels", []string{"a.test GET", "tunnel:a.test"}, false, "a.test:443", HTTP, true, false},
		{"of tunnel and tcp the wider", []string{"tcp:a.test:443", "tunnel:a.test"}, false, "a.test:443", TCP, false, false},
		{"a limited denial ends a tunnel", []string{"tunnel:a.test", "deny a.test /x"}, false, "a.test:443", HTTP, false, true},
		{"a limited denial ends tcp", []string{"tcp:a.test:443", "deny a.test POST"}, false, "a.test:443", HTTP, false, true},
		{"a limited denial elsewhere", []string{"tcp:a.test:443", "deny a.test:80 POST"}, false, "a.test:443", TCP, false, false},
		{"open by default", nil, true, "a.test:22", Any, false, false},
		{"open by default, with a limited rule", []string{"a.test GET"}, true, "a.test:443", Any, false, false},
		{"open by default, with a limited denial", []string{"deny a.test POST"}, true, "a.test:443", HTTP, false, true},
		{"open by default, limited inside", []string{"10.0.0.1 GET"}, true, "10.0.0.1:80", HTTP, false, true},
		{"open by default, limited by a name inside", []string{"private:a.test GET"}, true, "a.test:80", HTTP, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := limitedRules(t, tt.rules...)
			if tt.open {
				p.Default = Allow
			}
			d := p.Decide(request(t, tt.request))
			if d.Verdict != Allow || d.Protocol != tt.protocol || d.Tunnel != tt.tunnel || d.Inspect != tt.inspect {
				t.Errorf("%s, protocol %s, tunnel %v, inspect %v (%s)", d.Verdict, d.Protocol, d.Tunnel, d.Inspect, d.Reason)
			}
		})
	}
}

func TestUnknownValuesDeny(t *testing.T) {
	control := rules(t, "a.test").Rules[0]
	for name, change := range map[string]func(*Rule){
		"protocol": func(r *Rule) { r.Protocol = 7 },
		"any":      func(r *Rule) { r.Protocol = Any },
		"tls":      func(r *Rule) { r.TLS = 7 },
		"verdict":  func(r *Rule) { r.Verdict = 7 },
	} {
		r := control
		change(&r)
		if d := (&Policy{Rules: []Rule{r}}).Decide(Request{Host: "a.test", Port: 443}); d.Verdict != Deny {
			t.Errorf("a rule with an unknown %s allows", name)
		}
		r.Verdict = Deny
		if d := (&Policy{Rules: []Rule{control, r}}).Decide(Request{Host: "a.test", Port: 443}); d.Verdict != Deny {
			t.Errorf("a denial with an unknown %s does not deny", name)
		}
	}
	if d := (&Policy{Rules: []Rule{control}}).Decide(Request{Host: "a.test", Port: 443}); d.Verdict != Allow {
		t.Error("control: the rule itself does not allow")
	}
}

func TestDeniedNetworksHoldForNames(t *testing.T) {
	p := rules(t, "a.test", "private:b.test", "deny 93.184.0.0/16", "deny 10.0.0.0/8:80")
	for _, tt := range []struct {
		host, addr string
		port       uint16
		want       Verdict
	}{
		{"a.test", "93.184.215.14", 443, Deny}, {"a.test", "8.8.8.8", 443, Allow}, {"a.test", "::ffff:93.184.215.14", 443, Deny},
		{"b.test", "10.0.0.1", 80, Deny}, {"b.test", "10.0.0.1", 443, Allow},
	} {
		req := request(t, tt.host+":443")
		req.Port = tt.port
		if d := p.Decide(req).CheckAddr(req.Host, netip.MustParseAddr(tt.addr)); d.Verdict != tt.want {
			t.Errorf("%s to %s: %s, want %s", tt.host, tt.addr, d.Reason, tt.want)
		}
	}
}

func TestCure(t *testing.T) {
	p := limitedRules(t, "api.test GET", "db.test", "deny evil.test")
	for _, tt := range []struct{ request, want string }{
		{"x.test:443", "bailey allow x.test"},
		{"x.test:22", "bailey allow tcp:x.test:22"},
		{"x.test:8080", "bailey allow x.test:8080"},
		{"POST api.test:443/x", "bailey allow --method POST api.test"},
		{"$(x) api.test:443/x", "bailey allow api.test"},
		{"1.2.3.4:443", "bailey allow 1.2.3.4"},
		{"10.0.0.5:5432", "bailey allow tcp:10.0.0.5:5432"},
		{"[2606:4700::1]:22", "bailey allow 'tcp:[2606:4700::1]:22'"},
		{"0.0.0.0:80", ""},
		{"evil.test:443", ""},
		{"db.test:443", ""},
	} {
		req := wholeRequest(t, tt.request)
		d := p.Decide(req)
		if d.Cure != tt.want {
			t.Errorf("%s: %q, want %q", tt.request, d.Cure, tt.want)
		}
		if words := strings.Fields(d.Cure); len(words) > 0 {
			again, err := ParseRule(strings.Trim(words[len(words)-1], "'"), "")
			if err != nil {
				t.Fatal(err)
			}
			i := slices.Index(words, "--method")
			if i >= 0 {
				again.Methods = words[i+1 : i+2]
			}
			if cured := (&Policy{Rules: append(slices.Clone(p.Rules), again)}).Decide(req); cured.Verdict != Allow {
				t.Errorf("%s is not cured by %q: %s", tt.request, d.Cure, cured.Reason)
			}
		}
	}
	p.Sandbox = "my-box"
	d := p.Decide(Request{Host: "db.test", Port: 443})
	if got := d.NotHTTP(); got.Verdict != Deny || got.Cure != "bailey allow --sandbox my-box tcp:db.test:443" {
		t.Errorf("%+v", got)
	}
	if got := d.CheckAddr("db.test", netip.MustParseAddr("10.0.0.1")); got.Cure != "bailey allow --sandbox my-box private:db.test" {
		t.Errorf("%+v", got)
	}
	if got := d.CheckAddr("db.test", netip.MustParseAddr("169.254.169.254")); got.Verdict != Deny || got.Cure != "" {
		t.Errorf("%+v", got)
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/a/b", "/a%2fb", "/%2e%2e/", "/a//b", "/a;b/c", "/%25", "*", "/\xff", "/a?b"} {
		f.Add("/a/**", s)
	}
	f.Fuzz(func(t *testing.T, glob, raw string) {
		path, clear := cleanPath(raw)
		if !clear && path != "" {
			t.Fatalf("%q is unclear and read as %q", raw, path)
		}
		if segments, ok := Glob(raw); ok != clear {
			t.Fatalf("the glob of %q is %q, and its path %q", raw, segments, path)
		} else if g := "/" + strings.Join(segments, "/"); ok && len(g) <= 1024 && (checkGlob(g) != nil || !matchPath(g, path)) {
			t.Fatalf("the glob of %q is %q, which does not match: %v", raw, g, checkGlob(g))
		}
		if clear {
			if !strings.HasPrefix(path, "/") || strings.Contains(path, "//") || strings.ContainsAny(path, "\\%\x00") {
				t.Fatalf("%q is read as %q", raw, path)
			}
			for segment := range strings.SplitSeq(path, "/") {
				if segment == "." || segment == ".." {
					t.Fatalf("%q is read as %q", raw, path)
				}
			}
		}
		if checkGlob(glob) != nil {
			return
		}
		r := Rule{Verdict: Allow, Paths: []string{glob}}
		if r.allowsRequest(Request{Method: "GET"}, path, clear) && !clear {
			t.Fatalf("the unclear path %q is allowed by %q", raw, glob)
		}
		if !clear && !r.deniesRequest("GET", path, clear) {
			t.Fatalf("the unclear path %q is not denied by %q", raw, glob)
		}
		if clear && r.allowsRequest(Request{Method: "GET"}, path, clear) && !r.deniesRequest("GET", path, clear) {
			t.Fatalf("%q allows %q and does not deny it", glob, path)
		}
	})
}
