//go:build linux

package e2e

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// registry is an npm registry with one version of Claude Code, whose program is a shell script.
type registry struct {
	program   string            // the script; "" leaves it out of the package
	platforms map[string]string // optionalDependencies
	integrity string            // "" is the right one
	metadata  string            // "" is the right one
}

func (r registry) serve(t *testing.T) (url string) {
	t.Helper()
	var server *httptest.Server
	tarball := r.pack(t)
	sum := sha512.Sum512(tarball)
	integrity := r.integrity
	if integrity == "" {
		integrity = "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
	}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		version := map[string]any{"dist": map[string]string{"tarball": server.URL + "/it.tgz", "integrity": integrity}}
		switch {
		case req.URL.Path == "/it.tgz":
			_, _ = w.Write(tarball)
			return
		case r.metadata != "":
			_, _ = w.Write([]byte(r.metadata))
			return
		case strings.HasSuffix(req.URL.Path, "/claude-code"):
			version["optionalDependencies"] = r.platforms
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"dist-tags": map[string]string{"latest": "1.0.0"}, "versions": map[string]any{"1.0.0": version}})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func (r registry) pack(t *testing.T) []byte {
	files := map[string]string{"package/package.json": "{}"}
	if r.program != "" {
		files["package/claude"] = r.program
	}
	return tarred(t, files)
}

func TestOnlyWhatTheRegistryPromisesIsInstalled(t *testing.T) {
	const script = "#!/bin/sh\necho INSTALLED\n"
	platforms := map[string]string{}
	for _, name := range []string{"linux-x64", "linux-x64-musl", "linux-arm64", "linux-arm64-musl"} {
		platforms["@anthropic-ai/claude-code-"+name] = "1.0.0"
	}
	wrong := "sha512-" + base64.StdEncoding.EncodeToString(make([]byte, sha512.Size))
	for _, c := range []struct {
		name string
		registry
		want string // "" installs it
		hint bool
	}{
		{"what it promises", registry{program: script, platforms: platforms}, "", false},
		{"another content", registry{program: script, platforms: platforms, integrity: wrong}, "does not have the hash that the registry promises", false},
		{"no hash", registry{program: script, platforms: platforms, integrity: "none"}, "no sha512", false},
		{"a weak hash", registry{program: script, platforms: platforms, integrity: "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="}, "no sha512", false},
		{"programs for other platforms", registry{program: script, platforms: map[string]string{"@anthropic-ai/claude-code-darwin-arm64": "1.0.0"}}, "has no program", true},
		{"a package without the program", registry{platforms: platforms}, "cannot install claude", false},
		{"a page to log in", registry{metadata: "<html>"}, "answers nonsense", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUser(t)
			u.env = slices.DeleteFunc(u.env, func(kv string) bool {
				return strings.HasPrefix(kv, "XDG_DATA_HOME=") || strings.HasPrefix(strings.ToLower(kv), "npm_config_")
			})
			u.env = append(u.env, "npm_config_registry="+c.serve(t), "NO_PROXY=127.0.0.1")
			out := u.bailey("run", "--rm", "claude", ".")
			if c.want == "" {
				if out.code != 0 || out.stdout != "INSTALLED\n" {
					t.Errorf("got %+v", out)
				}
			} else {
				out.stderr = withoutProgress(out.stderr)
				u.refused(out, c.want, c.hint, 125)
			}
			u.noSandboxes()
			for _, half := range []string{"new-*", "*/*/claude"} {
				found, _ := filepath.Glob(filepath.Join(u.home, ".local/share/bailey/agents/*", half))
				if (len(found) > 0) != (c.want == "" && half != "new-*") {
					t.Errorf("in the cache there is %q", found)
				}
			}
		})
	}
	t.Run("nothing, as it does not answer", func(t *testing.T) {
		u := newUser(t)
		u.env = slices.DeleteFunc(u.env, func(kv string) bool {
			return strings.HasPrefix(kv, "XDG_DATA_HOME=") || strings.HasPrefix(strings.ToLower(kv), "npm_config_")
		})
		u.env = append(u.env, "npm_config_registry=http://127.0.0.1:1", "NO_PROXY=127.0.0.1")
		u.refused(u.bailey("run", "claude", "."), "cannot reach the package registry 127.0.0.1:1", true, 125)
		u.noSandboxes()
	})
}

// withoutProgress leaves out the lines that tell how a download goes.
func withoutProgress(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "fetching ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
