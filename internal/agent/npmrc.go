package agent

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Registry says which npm registry serves which package, and how to log in there. The zero value is the
// public registry.
type Registry struct {
	base   string            // "" is the public one
	scopes map[string]string // "@scope" → base
	logins map[string]string // "//host/path/" → Authorization header
}

// ReadRegistry reads npm's own configuration: the variables npm_config_registry and NPM_CONFIG_REGISTRY,
// then .npmrc in the user's home. A project's .npmrc is never read: it belongs to the repository, which
// must not choose what runs. The error names the file, never its content.
func ReadRegistry(home string, getenv func(string) string) (Registry, error) {
	path := filepath.Join(home, ".npmrc")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Registry{}, fmt.Errorf("cannot read npm's configuration: %w", err)
	}
	r := parseNpmrc(string(data), getenv)
	for _, name := range []string{"NPM_CONFIG_REGISTRY", "npm_config_registry"} {
		if v := getenv(name); v != "" {
			r.base = v
		}
	}
	for _, base := range r.scopes {
		if _, err := parseBase(base); err != nil {
			return Registry{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	if _, err := parseBase(r.base); err != nil {
		return Registry{}, err
	}
	return r, nil
}

// parseNpmrc reads the settings that matter here from an ini file as npm writes it (docs: "npmrc"); what
// it cannot read it skips, as npm does. ${NAME} is replaced from the environment where that is set.
func parseNpmrc(text string, getenv func(string) string) Registry {
	r := Registry{scopes: map[string]string{}, logins: map[string]string{}}
	section := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = true // npm has no sections; what follows belongs to nobody
		}
		key, value, ok := strings.Cut(line, "=")
		if section || !ok || strings.ContainsAny(line[:1], "#;") {
			continue
		}
		key, value = expand(strings.TrimSpace(key), getenv), strings.TrimSpace(value)
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		value = expand(value, getenv)
		if key == "registry" {
			r.base = value
		} else if scope, ok := strings.CutSuffix(key, ":registry"); ok && strings.HasPrefix(scope, "@") {
			r.scopes[scope] = value
		} else if at, ok := strings.CutSuffix(key, ":_authToken"); ok && hostAndPath(at) {
			r.logins[withSlash(at)] = "Bearer " + value
		} else if at, ok := strings.CutSuffix(key, ":_auth"); ok && hostAndPath(at) {
			if _, err := base64.StdEncoding.DecodeString(value); err == nil {
				r.logins[withSlash(at)] = "Basic " + value
			}
		}
	}
	return r
}

func expand(s string, getenv func(string) string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(before)
		if v := getenv(name); v != "" {
			b.WriteString(v)
		} else {
			b.WriteString("${" + name + "}")
		}
		s = after
	}
}

// hostAndPath tells whether s is "//host" or "//host/path". Without a host it would match every URL.
func hostAndPath(s string) bool { return len(s) > 2 && s[:2] == "//" && s[2] != '/' }

func withSlash(s string) string { return strings.TrimRight(s, "/") + "/" }

// baseFor is the registry that serves pkg. It ends in a slash.
func (r Registry) baseFor(pkg string) (*url.URL, error) {
	if scope, _, scoped := strings.Cut(pkg, "/"); scoped && r.scopes[scope] != "" {
		return parseBase(r.scopes[scope])
	}
	return parseBase(r.base)
}

func parseBase(base string) (*url.URL, error) {
	if base == "" {
		base = "https://" + NPMRegistry
	}
	u, err := url.Parse(withSlash(base))
	// The slash would end up in a query or a fragment, and the package's name after it.
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("npm's configuration names a registry that is no http URL")
	}
	return u, nil
}

// NPMDomain is the domain of the public registry's ecosystem, and NPMRegistry the registry's host in it.
const (
	NPMDomain   = "npmjs.org"
	NPMRegistry = "registry." + NPMDomain
)

// login returns the Authorization header for u: that of the longest configured "//host/path/" above it.
func (r Registry) login(u *url.URL) string {
	header, longest := "", 0
	for at, h := range r.logins {
		if strings.HasPrefix("//"+u.Host+u.Path, at) && len(at) > longest {
			header, longest = h, len(at)
		}
	}
	return header
}
