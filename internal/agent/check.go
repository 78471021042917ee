package agent

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Check reports why a user-defined agent cannot be used. Host names are only looked at here; the policy
// that is made of them has the last word.
func (a Agent) Check() error {
	if err := sandbox.CheckName(a.Name); err != nil {
		return fmt.Errorf("invalid agent name: %w", err)
	}
	for _, b := range Builtin() {
		if a.Name == b.Name {
			return fmt.Errorf("agent %s is built in and cannot be defined again", a.Name)
		}
	}
	if err := a.check(); err != nil {
		return fmt.Errorf("agent %s: %w", a.Name, err)
	}
	return nil
}

// check is Check for any agent, also a built-in one.
func (a Agent) check() error {
	if len(a.Argv) == 0 || a.Argv[0] == "" {
		return fmt.Errorf("command is missing")
	}
	for _, arg := range a.Argv {
		if strings.ContainsRune(arg, 0) {
			return fmt.Errorf("command has a NUL byte in %q", arg)
		}
	}
	for name, value := range a.Env {
		if !envName(name) || strings.ContainsRune(value, 0) {
			return fmt.Errorf("invalid environment variable %q", name)
		}
	}
	for _, name := range a.Keys {
		if !envName(name) {
			return fmt.Errorf("invalid name of a key variable %q", name)
		}
	}
	for _, h := range a.Hosts {
		if h.Name == "" || strings.ContainsAny(h.Name, "/: \t\r\n@") {
			return fmt.Errorf("invalid host %q: a bare name is wanted", h.Name)
		}
		if h.Port == 0 {
			return fmt.Errorf("host %s has no port", h.Name)
		}
	}
	if a.Package == "" && len(a.Native) > 0 {
		return fmt.Errorf("native programs need a package that they belong to")
	}
	if a.Package != "" && !packageName(a.Package) {
		return fmt.Errorf("invalid package name %q", a.Package)
	}
	for _, n := range a.Native {
		if !packageName(n.Package) || !filepath.IsLocal(n.Bin) {
			return fmt.Errorf("invalid native program %q in package %q", n.Bin, n.Package)
		}
	}
	return nil
}

func envName(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == "" &&
		(s[0] < '0' || s[0] > '9')
}

// packageName tells whether s is an npm package's name: [@scope/]name. It becomes part of URLs and, with
// the slash replaced, of file names.
func packageName(s string) bool {
	if rest, scoped := strings.CutPrefix(s, "@"); scoped {
		scope, name, ok := strings.Cut(rest, "/")
		return ok && len(s) <= 214 && word(scope) && word(name)
	}
	return len(s) <= 214 && word(s)
}

// versionName tells whether s can be a version or a dist-tag, and with it a file name.
func versionName(s string) bool { return len(s) <= 128 && word(s) }

// word is a name that is safe in a path and in a URL: it cannot start with a dot or a hyphen.
func word(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._+-~", rune(c))) {
			return false
		}
	}
	return s != ""
}
