package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// Request is what the sandbox wants: a connection to Port of Host or, when it named no name, of Addr; and
// on that connection, once it is read, a request.
type Request struct {
	Host   hostname.Name
	Addr   netip.Addr // judged only when Host is empty
	Port   uint16
	Method string // of an HTTP request; "" while only the connection is judged
	Path   string // as it was sent, with its escapes; what follows a question mark is not judged
	Push   *Push  // what it would push with git; nil for other requests
}

// String returns host:port, or only the host when no port is asked for, with the method before it. A method
// that is none of the usual kind, and the path, are the sandbox's own words and are left out.
func (r Request) String() string {
	switch {
	case r.Push != nil:
		return r.Push.String() + " on " + r.connection()
	case r.Method == "":
		return r.connection()
	case !plainMethod(r.Method):
		return "a strange method on " + r.connection()
	}
	return r.Method + " on " + r.connection()
}

func (r Request) connection() string {
	host := string(r.Host)
	if host == "" {
		host = r.Addr.String()
		if r.Port != 0 {
			return netip.AddrPortFrom(r.Addr, r.Port).String()
		}
	}
	if r.Port == 0 {
		return host
	}
	return fmt.Sprintf("%s:%d", host, r.Port)
}

// plainMethod says whether s looks like the methods that are registered. HTTP allows more.
func plainMethod(s string) bool {
	const longest = 32
	return s != "" && len(s) <= longest && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == "" && s[0] != '-'
}

// RawPort says whether what listens there speaks something else than HTTP, as everybody knows: SSH, mail, databases.
func RawPort(port uint16) bool {
	switch port {
	case 22, 25, 465, 587, 993, 1433, 1521, 3306, 5432, 6379, 9418, 27017:
		return true
	}
	return false
}

// cure is the command that adds a rule for r, in the manner of like. It is made of canonical names, numbers and
// plain methods only, so a shell takes it as it stands.
func (r Request) cure(p *Policy, like Rule) string {
	like.Verdict = Allow
	if like.Protocol == HTTP && like.TLS == Inspect && r.Method == "" && RawPort(r.Port) {
		like.Protocol = TCP
	}
	if r.Port != 0 && (like.Protocol == TCP || r.Port != 80 && r.Port != 443) {
		like.Ports = []uint16{r.Port}
	}
	if like.Protocol == Any {
		like.Protocol = HTTP
	}
	if r.Host == "" {
		if err := like.setNet(netip.PrefixFrom(r.Addr, r.Addr.BitLen())); err != nil {
			return ""
		}
	} else if err := like.parseHost(string(r.Host)); err != nil {
		return ""
	}
	command := "bailey allow "
	if p != nil && p.Sandbox != "" {
		command += "--sandbox " + p.Sandbox + " "
	}
	switch {
	case r.Push != nil:
		push := r.Push.cure()
		if push == "" {
			return ""
		}
		command += push
	case plainMethod(r.Method):
		command += "--method " + r.Method + " "
	}
	text := like.String()
	if strings.Contains(text, "[") {
		text = "'" + text + "'" // some shells look for files of that name
	}
	return command + text
}
