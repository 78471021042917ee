package egress

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

// forge is a real git server behind the wall, and a working tree inside.
type forge struct {
	*web
	repo, tree, url string
	env             []string
}

func newForge(t *testing.T) *forge {
	exec := strings.TrimSpace(run(t, nil, "git", "--exec-path"))
	root := t.TempDir()
	f := &forge{web: newWeb(t), repo: filepath.Join(root, "acme", "shop.git"), tree: filepath.Join(t.TempDir(), "tree")}
	run(t, nil, "git", "init", "-q", "--bare", "-b", "main", f.repo)
	run(t, nil, "git", "-C", f.repo, "config", "http.receivepack", "true")
	server := &cgi.Handler{Path: filepath.Join(exec, "git-http-backend"), Stderr: io.Discard, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}}
	port, bundle := f.inside(server.ServeHTTP)
	f.env = []string{"GIT_SSL_CAINFO=" + bundle, "GIT_CONFIG_COUNT=3",
		"GIT_CONFIG_KEY_0=http.curloptResolve", fmt.Sprintf("GIT_CONFIG_VALUE_0=good.test:%d:127.0.0.1", port),
		"GIT_CONFIG_KEY_1=user.name", "GIT_CONFIG_VALUE_1=ada", "GIT_CONFIG_KEY_2=user.email", "GIT_CONFIG_VALUE_2=ada@a.test"}
	f.url = fmt.Sprintf("https://good.test:%d/acme/shop.git", port)
	f.allow(policy.Entry{Push: []string{"acme/shop:+**"}, Workflows: true})
	f.sh("git clone -q " + f.url + " " + f.tree)
	f.in("git checkout -q -b main; mkdir -p .github/workflows src; seq 300 >src/a; echo on: push >.github/workflows/ci.yml; git add .; git commit -qm one; git push -q origin main; git push -q origin HEAD:wip")
	return f
}

// allow lets everything but pushes through, and what push says.
func (f *forge) allow(push ...policy.Entry) {
	p := &policy.Policy{Sandbox: "box"}
	for _, e := range append(push, policy.Entry{}) {
		e.Host, e.Ports = "good.test", []int{int(f.port())}
		r, err := e.Rule(policy.Allow, "test")
		if err != nil {
			f.t.Fatal(err)
		}
		p.Rules = append(p.Rules, r)
	}
	f.lab.mu.Lock()
	defer f.lab.mu.Unlock()
	f.rules = p
}

func (f *forge) port() (port uint16) {
	_, _ = fmt.Sscanf(strings.TrimPrefix(f.url, "https://good.test:"), "%d", &port)
	return port
}

func (f *forge) try(dir, script string) (string, error) {
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append(f.env, "HOME="+filepath.Dir(f.tree), "NO_PROXY=*", "no_proxy=*", "GIT_TERMINAL_PROMPT=0")...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (f *forge) sh(script string) {
	f.t.Helper()
	if out, err := f.try("/", script); err != nil {
		f.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func (f *forge) in(script string) string {
	f.t.Helper()
	out, err := f.try(f.tree, script)
	if err != nil {
		f.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// refs are the server's.
func (f *forge) refs() string {
	out, err := exec.Command("git", "-C", f.repo, "for-each-ref", "--format=%(refname) %(objectname)").Output()
	if err != nil {
		f.t.Fatal(err)
	}
	return string(out)
}

// commits one more, with something that deltas well.
const more = `sed -i "7s/.*/seven $(date +%N)/" src/a; git commit -qam more; `

func TestPushesPassOnlyByARuleThatNamesThem(t *testing.T) {
	f := newForge(t)
	main := policy.Entry{Push: []string{"acme/shop:main", "acme/shop:bailey/**"}}
	for _, c := range []struct {
		what, script string
		without      []policy.Entry
		says         string
		with         policy.Entry
	}{
		{"any at all", more + "git push origin main", nil, "no rule allows a push to acme/shop", main},
		{"another branch", more + "git push origin HEAD:refs/heads/release", []policy.Entry{main},
			"no rule allows a push to release of acme/shop on good.test", policy.Entry{Push: []string{"acme/shop:release"}}},
		{"one of two branches", more + "git push origin HEAD:refs/heads/bailey/x HEAD:refs/heads/other", []policy.Entry{main},
			"a push to other of acme/shop", policy.Entry{Push: []string{"acme/shop:**"}}},
		{"a rewritten branch", "git push -q -f origin HEAD:wip; git commit -q --amend -m rewritten; git push -f origin HEAD:wip", []policy.Entry{{Push: []string{"acme/shop:wip"}}},
			"a push to wip of acme/shop, which may rewrite or delete it, on good.test", policy.Entry{Push: []string{"acme/shop:+wip"}}},
		{"a branch that goes back", more + "git push -q origin HEAD:bailey/back; git push -f origin HEAD^:bailey/back", []policy.Entry{main},
			"bailey/back of acme/shop, which may rewrite or delete it,", policy.Entry{Push: []string{"acme/shop:+bailey/back"}}},
		{"a deleted branch", "git push -q origin HEAD:bailey/gone; git push origin :bailey/gone", []policy.Entry{main},
			"bailey/gone of acme/shop, which may rewrite or delete it,", policy.Entry{Push: []string{"acme/shop:+bailey/**"}}},
		{"a tag", "git tag v$$; git push origin v$$", []policy.Entry{main}, "a push to tags/v", policy.Entry{Push: []string{"acme/shop:tags/v*"}}},
		{"a workflow", "echo '# '$$ >>.github/workflows/ci.yml; git commit -qam ci; git push origin main", []policy.Entry{main},
			"a push to main of acme/shop, which may change workflows,", policy.Entry{Push: main.Push, Workflows: true}},
		{"a workflow on its way", "mkdir -p d/workflows; echo $$ >d/workflows/x.yml; git add d; git commit -qm d; git push origin main", []policy.Entry{main},
			"a push to main of acme/shop, which may change workflows,", policy.Entry{Push: main.Push, Workflows: true}},
	} {
		t.Run(c.what, func(t *testing.T) {
			f.in("git checkout -q main; git fetch -q; git reset -q --hard origin/main")
			prepare, push := c.script[:strings.LastIndex(c.script, "git ")], c.script[strings.LastIndex(c.script, "git "):]
			f.allow(policy.Entry{Push: []string{"acme/shop:+**"}, Workflows: true})
			f.in(prepare)
			before := f.refs()
			f.allow(c.without...)
			out, err := f.try(f.tree, strings.ReplaceAll(push, "v$$", "$(git describe --tags)"))
			if err == nil || !strings.Contains(out, c.says) || !strings.Contains(out, "bailey allow --sandbox box --push ") {
				t.Errorf("it was told %q, %v; not of %q", out, err, c.says)
			}
			if after := f.refs(); after != before {
				t.Errorf("the server has now\n%s", after)
			}
			// The control: with its own rule it lands.
			f.allow(c.with)
			if out, err := f.try(f.tree, strings.ReplaceAll(push, "v$$", "$(git describe --tags)")); err != nil {
				t.Errorf("with %v: %v\n%s", c.with, err, out)
			}
			if after := f.refs(); after == before {
				t.Error("with its rule nothing changed on the server")
			}
		})
	}
}

// The ordinary work of an agent on its own branch needs one rule: nothing of it is taken for more than it is.
func TestAnAgentsOwnBranch(t *testing.T) {
	f := newForge(t)
	f.allow(policy.Entry{Push: []string{"acme/shop:bailey/**"}})
	f.in("git checkout -q -b bailey/fix; " + more + "git push -q origin bailey/fix; " + more + more + "git push -q origin bailey/fix")
	f.in("seq 9 >new; git add new; git commit -qm new; git checkout -q -b side HEAD^; " + more + "git checkout -q bailey/fix; git merge -q --no-edit side -X ours; git push origin bailey/fix")
	f.in("head -c 3000000 /dev/urandom >large; git add large; git commit -qm large; git push -q origin bailey/fix")
	if got, want := strings.TrimSpace(f.in("git rev-parse HEAD")), f.refs(); !strings.Contains(want, "refs/heads/bailey/fix "+got) {
		t.Errorf("the server has %s, not %s", want, got)
	}
	// What a server may do at an option's word cannot be judged.
	run(f.t.(*testing.T), nil, "git", "-C", f.repo, "config", "receive.advertisePushOptions", "true")
	if out, err := f.try(f.tree, more+"git push -o merge=now origin bailey/fix"); err == nil || !strings.Contains(out, "403") {
		t.Errorf("a push with options: %v, %s", err, out)
	}
	// Fetching is not pushing.
	f.in("git fetch -q origin; git ls-remote -q origin")
}

// A client that builds on the server's objects anyway hides what it changes.
func TestAPackThatBuildsOnOthersIsRefused(t *testing.T) {
	f := newForge(t)
	f.allow(policy.Entry{Push: []string{"acme/shop:main"}})
	f.in(more)
	ids := strings.Fields(f.in("git rev-parse origin/main HEAD"))
	pack := f.in("printf '%s\n' " + ids[1] + " ^" + ids[0] + " | git pack-objects --revs --thin --stdout -q >../thin.pack; echo done")
	if !strings.Contains(pack, "done") {
		t.Fatal(pack)
	}
	thin, err := os.ReadFile(filepath.Join(filepath.Dir(f.tree), "thin.pack"))
	if err != nil {
		t.Fatal(err)
	}
	push := func() (int, string) {
		command := fmt.Sprintf("%s %s refs/heads/main\x00report-status side-band-64k", ids[0], ids[1])
		body := fmt.Sprintf("%04x%s0000%s", len(command)+4, command, thin)
		r, err := http.NewRequest(http.MethodPost, f.url+"/git-receive-pack", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-git-receive-pack-request")
		answer, err := f.client(false).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(text)
	}
	before := f.refs()
	if _, text := push(); !strings.Contains(text, "ng refs/heads/main bailey: ") || !strings.Contains(text, "git push --no-thin") || f.refs() != before {
		t.Errorf("it was answered %q", text)
	}
	f.allow(policy.Entry{Push: []string{"acme/shop:+main"}, Workflows: true})
	if status, text := push(); f.refs() == before {
		t.Errorf("control: with every rule it was answered %d %q", status, text)
	}
}
