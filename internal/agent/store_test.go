package agent

import (
	"archive/tar"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// native is an agent with a program per platform, one of them under an alias, as the real ones have.
func nativeAgent() Agent {
	return Agent{Name: "demo", Package: "@acme/demo", Argv: []string{"demo", "--yes"}, Native: []Native{
		{Arch: "amd64", Libc: "glibc", Package: "@acme/demo-x64", Bin: "bin/demo"},
		{Arch: "arm64", Package: "@acme/demo-arm64", Bin: "bin/demo"},
	}}
}

func glibc() Platform { return Platform{Arch: "amd64", Libc: "glibc"} }

func scriptAgent() Agent { return Agent{Name: "script", Package: "script", Argv: []string{"script"}} }

func newStore(t *testing.T, r *fakeRegistry) Store {
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return Store{Dir: t.TempDir(), Registry: Registry{base: r.URL}, Platform: glibc(), HTTP: client}
}

func (r *fakeRegistry) publishDemo(t *testing.T, version string) {
	r.publish("@acme/demo-x64", version, packed(t, file("package/bin/demo", "\x7fELF "+version), file("package/package.json", "{}")), nil)
	r.publish("@acme/demo", version+"-arm64", packed(t, file("package/bin/demo", "\x7fELF arm "+version)), nil)
	r.publish("@acme/demo", version, packed(t, file("package/x", "x")), map[string]string{
		"@acme/demo-x64": version, "@acme/demo-arm64": "npm:@acme/demo@" + version + "-arm64"})
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEnsureFetchesTheProgramForThePlatform(t *testing.T) {
	for _, c := range []struct {
		name     string
		platform Platform
		want     string
	}{
		{"a platform package", glibc(), "\x7fELF 1.2.3"},
		{"an alias of another version of the main package", Platform{Arch: "arm64", Libc: "musl"}, "\x7fELF arm 1.2.3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(t)
			r.publishDemo(t, "1.2.3")
			s := newStore(t, r)
			s.Platform = c.platform
			var last, total int64
			s.Progress = func(d, n int64) { last, total = d, n }
			in, err := s.Ensure(t.Context(), nativeAgent(), "")
			if err != nil {
				t.Fatal(err)
			}
			if in.Version != "1.2.3" || in.Node || in.Stale != nil || content(t, in.Bin) != c.want {
				t.Errorf("got %+v with %q", in, content(t, in.Bin))
			}
			if rel, err := filepath.Rel(in.Dir, in.Bin); err != nil || !filepath.IsLocal(rel) {
				t.Errorf("%s is not inside %s", in.Bin, in.Dir)
			}
			if last == 0 || last != total {
				t.Errorf("progress ended at %d of %d", last, total)
			}
			if info, err := os.Stat(in.Bin); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestEnsureFindsTheScriptThatThePackageNames(t *testing.T) {
	r := newRegistry(t)
	script := file("package/dist/cli.js", "#!/usr/bin/env -S node --x\n")
	script.Mode = 0o644
	r.publish("script", "1.0.0", packed(t, script, file("package/package.json", `{"bin":{"other":"no.js","script":"dist/cli.js"}}`)), nil)
	in, err := newStore(t, r).Ensure(t.Context(), scriptAgent(), "1.0.0")
	if err != nil || !in.Node || filepath.Base(in.Bin) != "cli.js" {
		t.Fatalf("got %+v, %v", in, err)
	}
	if info, err := os.Stat(in.Bin); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the script is not executable: %v, %v", info.Mode(), err)
	}
}

func TestEnsureRefuses(t *testing.T) {
	good := func(t *testing.T) []byte {
		return packed(t, file("package/package.json", `{"bin":"cli.js"}`), file("package/cli.js", "#!/usr/bin/env node\n"))
	}
	withEntry := func(e entry) func(*testing.T, *fakeRegistry) {
		return func(t *testing.T, r *fakeRegistry) {
			r.publish("script", "1.0.0", packed(t, file("package/package.json", `{"bin":"cli.js"}`), file("package/cli.js", "#!/bin/sh"), e), nil)
		}
	}
	special := func(name string, kind byte, link string) entry {
		return entry{tar.Header{Name: name, Typeflag: kind, Linkname: link}, ""}
	}
	huge := file("package/huge", "")
	huge.Size = 3 << 30
	for _, c := range []struct {
		name    string
		agent   Agent
		version string
		publish func(t *testing.T, r *fakeRegistry)
		want    string
	}{
		{"a package that does not exist", scriptAgent(), "", func(*testing.T, *fakeRegistry) {}, "does not have it"},
		{"a version that does not exist", scriptAgent(), "9.9.9", func(t *testing.T, r *fakeRegistry) {
			r.publish("script", "1.0.0", good(t), nil)
		}, `no version "9.9.9"`},
		{"a version that is a path", scriptAgent(), "../../x", func(*testing.T, *fakeRegistry) {}, "invalid version"},
		{"another hash than promised", scriptAgent(), "", func(t *testing.T, r *fakeRegistry) {
			rel := r.publish("script", "1.0.0", good(t), nil)
			r.tarballs["/-/script-1.0.0.tgz"] = packed(t, file("package/package.json", `{"bin":"evil"}`), file("package/evil", "#!/bin/sh"))
			r.put("script", "1.0.0", rel)
		}, "does not have the hash"},
		{"bytes after the archive that change the hash", scriptAgent(), "", func(t *testing.T, r *fakeRegistry) {
			r.publish("script", "1.0.0", good(t), nil)
			r.tarballs["/-/script-1.0.0.tgz"] = append(good(t), "more"...)
		}, "does not have the hash"},
		{"a truncated tarball", scriptAgent(), "", func(t *testing.T, r *fakeRegistry) {
			r.publish("script", "1.0.0", good(t), nil)
			r.tarballs["/-/script-1.0.0.tgz"] = good(t)[:60]
		}, "does not have the hash"},
		{"no strong hash", scriptAgent(), "", func(t *testing.T, r *fakeRegistry) {
			rel := r.publish("script", "1.0.0", good(t), nil)
			rel.Dist.Integrity = "sha1-deadbeef"
			r.put("script", "1.0.0", rel)
		}, "no sha512"},
		{"a tarball that is missing", scriptAgent(), "", func(t *testing.T, r *fakeRegistry) {
			r.publish("script", "1.0.0", good(t), nil)
			delete(r.tarballs, "/-/script-1.0.0.tgz")
		}, "does not have it"},
		{"a package that needs others", scriptAgent(), "", func(t *testing.T, r *fakeRegistry) {
			rel := r.publish("script", "1.0.0", good(t), nil)
			rel.Dependencies = map[string]string{"left-pad": "1"}
			r.put("script", "1.0.0", rel)
		}, "needs 1 other packages"},
		{"a program outside the package", scriptAgent(), "", func(t *testing.T, r *fakeRegistry) {
			r.publish("script", "1.0.0", packed(t, file("package/package.json", `{"bin":"../../../../bin/sh"}`)), nil)
		}, "has no program"},
		{"a platform without a program", nativeAgent(), "", func(t *testing.T, r *fakeRegistry) { r.publishDemo(t, "1.0.0") },
			"no program for linux/amd64 musl; it has linux/amd64 glibc, linux/arm64"},
		{"a version without the platform's program", nativeAgent(), "", func(t *testing.T, r *fakeRegistry) {
			r.publish("@acme/demo", "0.1.0", good(t), nil)
		}, "has no program @acme/demo"},
		{"a parent directory", scriptAgent(), "", withEntry(file("package/../../evil", "x")), "unsafe path"},
		{"an absolute path", scriptAgent(), "", withEntry(file("/etc/evil", "x")), "unsafe path"},
		{"a symbolic link", scriptAgent(), "", withEntry(special("package/l", tar.TypeSymlink, "/etc")), "neither file nor directory"},
		{"a hard link", scriptAgent(), "", withEntry(special("package/l", tar.TypeLink, "/etc/passwd")), "neither file nor directory"},
		{"a device", scriptAgent(), "", withEntry(special("package/d", tar.TypeChar, "")), "neither file nor directory"},
		{"a file twice", scriptAgent(), "", withEntry(file("package/cli.js", "#!/bin/evil")), "appears twice"},
		{"a file below a file", scriptAgent(), "", withEntry(file("package/cli.js/x", "x")), "not a directory"},
		{"a file larger than all may be", scriptAgent(), "", withEntry(huge), "more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(t)
			c.publish(t, r)
			s := newStore(t, r)
			if strings.Contains(c.want, "musl") {
				s.Platform.Libc = "musl"
			}
			in, err := s.Ensure(t.Context(), c.agent, c.version)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %+v, %v; want an error with %q", in, err, c.want)
			}
			filepath.WalkDir(s.Dir, func(path string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() && d.Name() != "lock" {
					t.Errorf("%s was left behind", path)
				}
				return nil
			})
		})
	}
}

func TestEnsureAsksTheRegistryOnceADay(t *testing.T) {
	r := newRegistry(t)
	r.publishDemo(t, "1.0.0")
	s, a := newStore(t, r), nativeAgent()
	first, err := s.Ensure(t.Context(), a, "")
	if err != nil {
		t.Fatal(err)
	}
	r.publishDemo(t, "2.0.0")
	asked := r.lookups.Load()
	if in, err := s.Ensure(t.Context(), a, "latest"); err != nil || in != first || r.lookups.Load() != asked {
		t.Errorf("the same day: got %+v, %v, %d questions", in, err, r.lookups.Load()-asked)
	}
	if in, err := s.Ensure(t.Context(), a, "1.0.0"); err != nil || in != first || r.lookups.Load() != asked {
		t.Errorf("the exact version: got %+v, %v, %d questions", in, err, r.lookups.Load()-asked)
	}
	if err := s.setTag(a, "latest", tag{"1.0.0", time.Now().Add(-freshFor)}); err != nil {
		t.Fatal(err)
	}
	if in, err := s.Ensure(t.Context(), a, ""); err != nil || in.Version != "2.0.0" {
		t.Errorf("the next day: got %+v, %v", in, err)
	}
	if content(t, first.Bin) != "\x7fELF 1.0.0" {
		t.Error("the version that a sandbox may still use is gone")
	}
}

func TestEnsureWithoutARegistry(t *testing.T) {
	r := newRegistry(t)
	r.publishDemo(t, "1.0.0")
	s, a := newStore(t, r), nativeAgent()
	cold := s
	cold.Dir = t.TempDir()
	if _, err := s.Ensure(t.Context(), a, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.setTag(a, "latest", tag{"1.0.0", time.Now().Add(-freshFor)}); err != nil {
		t.Fatal(err)
	}
	r.Close()
	in, err := s.Ensure(t.Context(), a, "")
	if err != nil || in.Version != "1.0.0" || !errors.Is(in.Stale, errUnreachable) {
		t.Errorf("a warm cache: got %+v, %v", in, err)
	}
	if in, err := s.Ensure(t.Context(), a, ""); err != nil || in.Stale != nil {
		t.Errorf("it should not ask again at once: got %+v, %v", in, err)
	}
	_, err = cold.Ensure(t.Context(), a, "")
	if !errors.Is(err, errUnreachable) || sandbox.Hint(err) == "" {
		t.Errorf("a cold cache: got %v, hint %q", err, sandbox.Hint(err))
	}
}

func TestEnsureFallsBackOnlyWhenTheRegistryIsAway(t *testing.T) {
	r := newRegistry(t)
	r.publishDemo(t, "1.0.0")
	s, a := newStore(t, r), nativeAgent()
	if _, err := s.Ensure(t.Context(), a, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.setTag(a, "latest", tag{"1.0.0", time.Now().Add(-freshFor)}); err != nil {
		t.Fatal(err)
	}
	r.publishDemo(t, "2.0.0")
	r.tarballs["/-/@acme-demo-x64-2.0.0.tgz"] = []byte("something else")
	if in, err := s.Ensure(t.Context(), a, ""); err == nil {
		t.Errorf("a package with a wrong hash went unnoticed: %+v", in)
	}
}

func TestParallelEnsureFetchesOnce(t *testing.T) {
	r := newRegistry(t)
	r.publishDemo(t, "1.0.0")
	s := newStore(t, r)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if in, err := s.Ensure(t.Context(), nativeAgent(), ""); err != nil || in.Version != "1.0.0" {
				t.Errorf("got %+v, %v", in, err)
			}
		})
	}
	wg.Wait()
	if n := r.fetches.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestEnsureRemovesWhatACrashLeft(t *testing.T) {
	r := newRegistry(t)
	r.publishDemo(t, "1.0.0")
	s := newStore(t, r)
	left := filepath.Join(s.Dir, "@acme+demo", "new-123", "bin")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ensure(t.Context(), nativeAgent(), ""); err != nil {
		t.Fatal(err)
	}
	if exists(left) {
		t.Error("the half-made directory is still there")
	}
}

func TestEnsureLogsInWithNpmsToken(t *testing.T) {
	r := newRegistry(t)
	r.publishDemo(t, "1.0.0")
	r.token = "s3cret"
	s := newStore(t, r)
	if _, err := s.Ensure(t.Context(), nativeAgent(), ""); err == nil || !strings.Contains(err.Error(), "refuses") || sandbox.Hint(err) == "" {
		t.Fatalf("without a token: %v", err)
	}
	s.Registry.logins = map[string]string{strings.TrimPrefix(r.URL, "http:") + "/": "Bearer s3cret"}
	if _, err := s.Ensure(t.Context(), nativeAgent(), ""); err != nil {
		t.Fatalf("with the token: %v", err)
	}
}
