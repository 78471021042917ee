package credential

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
)

// Exchange is a Keeper's part in one request.
type Exchange struct {
	k        *Keeper
	target   Target
	bound    []boundSecret
	endpoint Endpoint
	swaps    []swap
	echoed   bool                    // an alarm was raised
	refused  atomic.Pointer[Refusal] // of the body
}

// swap is one placeholder of a request's head that is to become the secret.
type swap struct {
	secret *Secret
	place  Place
	user   bool // with Basic: it stands for the user's name
	at     int  // with Query: which of the parameters
	// signature is the client's, with SigV4.
	signature *signature
}

// Begin judges the head of a request that policy allows to go to t, before any of it goes anywhere. An error is a
// *Refusal. A nil Keeper's Exchange does nothing.
func (k *Keeper) Begin(r *http.Request, t Target) (*Exchange, error) {
	x := &Exchange{k: k, target: t}
	if k == nil {
		return x, nil
	}
	x.bound = k.bound(t)
	for _, e := range k.cfg.Endpoints {
		if e.Serves(t, r) {
			x.endpoint = e
		}
	}
	rest, refusal := x.take(r)
	if refusal == nil {
		refusal = x.scanHead(rest)
	}
	if refusal != nil {
		return nil, refusal
	}
	return x, nil
}

// Used returns the names of the secrets that go out with the request.
func (x *Exchange) Used() []string {
	var names []string
	for _, s := range x.swaps {
		names = append(names, s.secret.Name)
	}
	return names
}

// piece is a part of a head, and what to call it.
type piece struct{ where, text string }

// take finds the placeholders that stand in their places. It returns the rest of the head, in which there may be none.
func (x *Exchange) take(r *http.Request) ([]piece, *Refusal) {
	rest := []piece{{"the path", r.URL.EscapedPath()}}
	for name, values := range r.Header {
		if len(values) > 1 && x.isPlace(name) {
			return nil, &Refusal{Reason: fmt.Sprintf("the request has %d headers %s, and %s would choose one of them", len(values), name, x.target)}
		}
		for _, value := range values {
			left, refusal := x.takeHeader(name, value)
			if refusal != nil {
				return nil, refusal
			}
			rest = append(rest, piece{"the header " + name, left})
		}
	}
	left, refusal := x.takeQuery(r.URL.RawQuery)
	return append(rest, piece{"the query", left}), refusal
}

func (x *Exchange) isPlace(header string) bool {
	found := false
	x.places(func(_ boundSecret, _ Binding, p Place) { found = found || p.Header == header })
	return found
}

// places calls visit for every place in which some secret may go to the target.
func (x *Exchange) places(visit func(s boundSecret, b Binding, p Place)) {
	for _, s := range x.bound {
		for _, b := range s.bindings {
			for _, p := range b.As {
				visit(s, b, p)
			}
		}
	}
}

// takeHeader notes the placeholder in a header's value, and returns what else is in it.
func (x *Exchange) takeHeader(name, value string) (rest string, refusal *Refusal) {
	rest = value
	if name == "Authorization" {
		if signed, refusal := x.takeSignature(value); signed || refusal != nil {
			return "", refusal
		}
	}
	var foreign *Secret
	mayBeForeign, taken := false, false
	x.places(func(s boundSecret, b Binding, p Place) {
		if p.Header != name || taken {
			return
		}
		foreign, mayBeForeign = s.Secret, mayBeForeign || b.Foreign
		if p.SigV4 {
			return
		}
		if left, user, ok := p.find(value, s.Placeholder); ok {
			x.swaps = append(x.swaps, swap{secret: s.Secret, place: p, user: user})
			rest, taken = left, true
		}
	})
	if foreign != nil && !taken && !mayBeForeign && !x.k.hasAny(value) {
		return "", x.foreign(foreign, "the header "+name)
	}
	return rest, nil
}

// hasAny says whether text has a placeholder, a canary or a real value: then that is what is wrong with it.
func (k *Keeper) hasAny(text string) bool {
	if _, ok := k.findInside(text); ok {
		return true
	}
	_, ok := k.findReal(text)
	return ok
}

func (x *Exchange) foreign(s *Secret, where string) *Refusal {
	return &Refusal{Secret: s.Name, Reason: fmt.Sprintf("%s has a credential that is not the placeholder of the secret %s, which is bound to %s: what an agent sends with other people's credentials, they may read",
		where, s.Name, x.target), Cure: fmt.Sprintf("bailey secret set %s --foreign, or: bailey secret rm %s", s.Name, s.Name)}
}

// find looks for placeholder in a header's value as p has it. Rest is what else is in the value.
func (p Place) find(value, placeholder string) (rest string, user, ok bool) {
	if !p.Basic {
		before, after, _ := strings.Cut(p.Form, "{}")
		scheme, credentials, spaced := strings.Cut(before, " ")
		if spaced && credentials == "" && len(value) > len(before) && strings.EqualFold(value[:len(scheme)], scheme) {
			value = before + strings.TrimLeft(value[len(scheme):], " ") // schemes know no case, and any number of spaces (RFC 9110, section 11.4)
		}
		return before + after, false, value == before+placeholder+after
	}
	name, password, ok := basic(value)
	switch {
	case ok && password == placeholder && name != placeholder:
		return "Basic " + name, false, true
	case ok && name == placeholder && password != placeholder:
		return "Basic " + password, true, true // tokens may be a user's name, with no password or a word for one
	}
	return value, false, false
}

// basic reads a header's value as RFC 7617 has it.
func basic(value string) (name, password string, ok bool) {
	scheme, encoded, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimLeft(encoded, " "))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(text), ":")
}

// takeQuery notes the placeholders in the query, and returns what else is in it.
func (x *Exchange) takeQuery(query string) (rest string, refusal *Refusal) {
	var others []string
	parameters := strings.Split(query, "&")
	for i, parameter := range parameters {
		name, value, _ := strings.Cut(parameter, "=")
		taken := false
		seen := map[string]bool{}
		var foreign *Secret
		x.places(func(s boundSecret, b Binding, p Place) {
			if p.Query == "" || p.Query != name || taken || seen[s.Name] {
				return
			}
			seen[s.Name] = true
			if plain, err := url.QueryUnescape(value); err == nil && plain == s.Placeholder {
				x.swaps = append(x.swaps, swap{secret: s.Secret, place: p, at: i})
				taken = true
			} else if !b.Foreign {
				foreign = s.Secret
			}
		})
		if !taken {
			others = append(others, parameter)
			if foreign != nil && !x.k.hasAny(value) {
				return "", x.foreign(foreign, "the query")
			}
		}
	}
	return strings.Join(others, "&"), nil
}

// scanHead refuses what has no business in any head.
func (x *Exchange) scanHead(pieces []piece) *Refusal {
	for _, p := range pieces {
		if refusal := x.k.scanText(p.text, x.target, p.where); refusal != nil {
			return refusal
		}
	}
	return nil
}

// scanText refuses a text that has a real value, a canary or a placeholder in any form.
func (k *Keeper) scanText(text string, t Target, where string) *Refusal {
	if secret, ok := k.findReal(text); ok {
		return k.leaked(secret, t, where)
	}
	if m, ok := k.findInside(text); ok {
		return k.misplaced(m, t, where)
	}
	return nil
}

func (k *Keeper) findInside(text string) (meaning, bool) {
	if p := findText(k.inside, text); p >= 0 {
		return k.means[p], true
	}
	return meaning{}, false
}

func (k *Keeper) findReal(text string) (secret string, ok bool) {
	l := k.cfg.Memory.lookout()
	if l == nil {
		return "", false
	}
	if p := findText(l.m, text); p >= 0 {
		return l.secret[p], true
	}
	return "", false
}

// findText looks for a pattern of m in text, as it is and unescaped.
func findText(m *matcher, text string) int {
	if m == nil {
		return -1
	}
	if _, p, _ := m.find(0, []byte(text)); p >= 0 {
		return p
	}
	if !strings.ContainsAny(text, `%\`) {
		return -1
	}
	var u unescaper
	_, p, _ := m.find(0, u.write(nil, []byte(text)))
	return p
}
