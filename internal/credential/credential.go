// Package credential keeps the user's secrets on the host's side of a sandbox's requests. Inside, a placeholder
// stands for each; where a request is for a host that the secret is bound to, in the place that was named, the
// placeholder becomes the secret on its way out, and the secret becomes the placeholder in what comes back. It holds
// the types (Secret, Binding, Place), the services that are known without configuration (Services), the shapes of
// placeholders, and the Keeper, which does this for one sandbox. It stores nothing, opens no file, dials nobody
// and decides no policy: what a request may reach is decided before it comes here, and where secrets are kept is
// the business of package secret.
package credential

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// Secret is one that a sandbox may use.
type Secret struct {
	Name        string
	Placeholder string // stands for it inside; see Shape
	Bindings    []Binding
	// Value returns the secret as it is now. It is called for each request that carries the placeholder, from any
	// goroutine, and may wait for the store, a keyring or a token endpoint as long as ctx lasts. Its error is told to
	// the sandbox without its text, which goes to the record, unless it is a *Refusal.
	Value func(ctx context.Context) (string, error)
}

// Binding is one host that a secret may be sent to, over verified TLS, and where in a request it may stand there.
type Binding struct {
	Host hostname.Pattern
	Port uint16 // 443 unless told
	As   []Place
	// Foreign lets the sandbox send other credentials than the secret in these places too.
	Foreign bool
}

// Place is where in a request a secret stands. Exactly one of Header and Query is set.
type Place struct {
	Header string // canonical name
	Query  string // the name of a parameter
	// Form is the value with {} for the secret, "{}" being the secret alone. Not used with Basic.
	Form string
	// Basic is HTTP basic authentication (RFC 7617): the secret is the password, and the user's name is left as the
	// program inside wrote it.
	Basic bool
	// SigV4 is a request that Amazon's services take: it is signed with the placeholder, and signed anew. The secret is
	// ACCESS_KEY_ID:SECRET_ACCESS_KEY, or that with :SESSION_TOKEN. Scope is REGION/SERVICE, or "" for any.
	SigV4 bool
	Scope string
}

// ParsePlace reads how a secret stands in a request: "bearer", "basic", "header:NAME", "header:NAME:FORM" with {} in
// FORM for the secret, or "query:NAME", or "sigv4" or "sigv4:REGION/SERVICE".
func ParsePlace(s string) (Place, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "bearer", "basic":
		if rest != "" {
			return Place{}, fmt.Errorf("%q: nothing follows %s", s, kind)
		}
		if kind == "basic" {
			return Place{Header: "Authorization", Basic: true}, nil
		}
		return Place{Header: "Authorization", Form: "Bearer {}"}, nil
	case "header":
		name, form, given := strings.Cut(rest, ":")
		if !given {
			form = "{}"
		}
		form = strings.TrimSpace(form)
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(form) || strings.Count(form, "{}") != 1 {
			return Place{}, fmt.Errorf("%q is not header:NAME or header:NAME:FORM with one {} for the secret", s)
		}
		return Place{Header: http.CanonicalHeaderKey(name), Form: form}, nil
	case "sigv4":
		if region, service, _ := strings.Cut(rest, "/"); rest != "" && (region == "" || service == "" || strings.ContainsAny(service, "/ ")) {
			return Place{}, fmt.Errorf("%q is not sigv4 or sigv4:REGION/SERVICE", s)
		}
		return Place{Header: "Authorization", SigV4: true, Scope: rest}, nil
	case "query":
		if rest == "" || strings.ContainsAny(rest, "=&;#%+ ") {
			return Place{}, fmt.Errorf("%q is not query:NAME", s)
		}
		return Place{Query: rest, Form: "{}"}, nil
	}
	return Place{}, errors.New("a secret stands as bearer, basic, header:NAME[:FORM], query:NAME or sigv4, not as " + fmt.Sprintf("%q", s))
}

// String is p as ParsePlace reads it.
func (p Place) String() string {
	switch {
	case p.Query != "":
		return "query:" + p.Query
	case p.Basic:
		return "basic"
	case p.SigV4 && p.Scope != "":
		return "sigv4:" + p.Scope
	case p.SigV4:
		return "sigv4"
	case p.Header == "Authorization" && p.Form == "Bearer {}":
		return "bearer"
	case p.Form == "{}":
		return "header:" + p.Header
	}
	return "header:" + p.Header + ":" + p.Form
}

// ParseHost reads HOST, HOST:PORT or *.DOMAIN. The port is 443 unless told.
func ParseHost(text string) (hostname.Pattern, uint16, error) {
	host, after, told := strings.Cut(text, ":")
	port := uint64(443)
	if told {
		var err error
		if port, err = strconv.ParseUint(after, 10, 16); err != nil || port == 0 {
			return hostname.Pattern{}, 0, fmt.Errorf("%q is not HOST, HOST:PORT or *.DOMAIN", text)
		}
	}
	pattern, err := hostname.ParsePattern(host)
	return pattern, uint16(port), err
}

// Target is where a request goes, as policy has judged it.
type Target struct {
	Host hostname.Name
	Port uint16
	TLS  bool // the connection is encrypted, and the server's certificate is checked
}

// String is what a sentence calls t.
func (t Target) String() string {
	if t.Host == "" {
		return "a bare address"
	}
	return string(t.Host)
}

// Matches says whether b is for t. Nothing is bound to a connection that others can read.
func (b Binding) Matches(t Target) bool {
	port := b.Port
	if port == 0 {
		port = 443
	}
	return t.TLS && t.Port == port && b.Host.Match(t.Host)
}
