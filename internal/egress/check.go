package egress

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// checkRequest says why no policy could allow r on a connection to target: status is that of the refusal, 0 for
// none. One connection serves one host, so the request's own idea of its host can only agree.
func checkRequest(r *http.Request, target policy.Request, scheme string) (status int, reason string) {
	switch {
	case r.Method == http.MethodConnect:
		return http.StatusMethodNotAllowed, "this connection goes to " + target.String() + " and is no proxy: connect to the other host itself"
	case r.Method == http.MethodTrace || r.Method == "TRACK":
		return http.StatusMethodNotAllowed, "requests that have their own headers sent back are not passed on"
	case r.URL.Scheme != "" && r.URL.Scheme != scheme:
		return http.StatusBadRequest, "the request is for another scheme than its connection"
	case r.URL.Host != "" && r.URL.Host != r.Host: // a whole URL as HTTP/2's :path
		return http.StatusBadRequest, "the request's target and its host disagree"
	case !strings.HasPrefix(r.URL.Path, "/") || r.URL.Opaque != "" || r.URL.User != nil:
		return http.StatusBadRequest, "the request's target is not a path"
	case !meansTarget(r.Host, target):
		return http.StatusMisdirectedRequest, "the request is for another host than its connection, which goes to " + target.String()
	}
	for _, host := range r.Header["Host"] { // beside HTTP/2's :authority
		if host != r.Host {
			return http.StatusBadRequest, "the request's :authority and Host disagree"
		}
	}
	return 0, ""
}

// meansTarget says whether authority, the value of Host or :authority, is target's. A port may be missing.
func meansTarget(authority string, target policy.Request) bool {
	host, port, found := cutPort(authority)
	if found && port != strconv.Itoa(int(target.Port)) {
		return false
	}
	if target.Host != "" {
		name, err := hostname.Parse(host)
		return err == nil && name == target.Host
	}
	addr, err := parseLiteral(host)
	return err == nil && addr == target.Addr
}

// parseLiteral reads an address as it stands in an authority: in its one spelling, IPv6 in brackets.
func parseLiteral(host string) (netip.Addr, error) {
	inner, open := strings.CutPrefix(host, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	addr, err := hostname.ParseAddr(inner)
	if err == nil && (open != addr.Is6() || closed != addr.Is6()) {
		err = fmt.Errorf("%q is not an address: IPv6, and nothing else, stands in brackets", host)
	}
	return addr, err
}

// canonicalHost is authority, which means target, in the spelling that was judged.
func canonicalHost(authority string, target policy.Request) string {
	host := string(target.Host)
	switch {
	case host != "":
	case target.Addr.Is6():
		host = "[" + target.Addr.String() + "]"
	default:
		host = target.Addr.String()
	}
	if _, port, found := cutPort(authority); found {
		host += ":" + port
	}
	return host
}

// cutPort splits at the last colon that is not part of an IPv6 address.
func cutPort(authority string) (host, port string, found bool) {
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		return authority[:i], authority[i+1:], true
	}
	return authority, "", false
}
