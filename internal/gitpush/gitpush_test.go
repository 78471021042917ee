package gitpush

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const (
	none = "0000000000000000000000000000000000000000"
	some = "1111111111111111111111111111111111111111"
)

func commands(lines ...string) []byte {
	var b []byte
	for i, text := range lines {
		if i == 0 && !strings.HasPrefix(text, "shallow") {
			text += "\x00 report-status side-band-64k object-format=sha1"
		}
		b = append(b, line(text)...)
	}
	return append(b, "0000"...)
}

func TestReadCommands(t *testing.T) {
	p, err := ReadCommands(bufio.NewReader(bytes.NewReader(commands(none+" "+some+" refs/heads/a", some+" "+none+" refs/tags/v1"))))
	if err != nil || len(p.Commands) != 2 || !p.Commands[0].Creates() || p.Commands[0].Deletes() || !p.Commands[1].Deletes() || p.Commands[1].Ref != "refs/tags/v1" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := ReadCommands(bufio.NewReader(strings.NewReader("0000"))); err != nil || len(p.Commands) != 0 {
		t.Errorf("a client that tries the way: %+v, %v", p, err)
	}
	for what, text := range map[string]string{
		"no ref":           string(commands(none + " " + some)),
		"a short id":       string(commands("00 " + some + " refs/heads/a")),
		"an id in letters": string(commands(none + " " + strings.Repeat("A", 40) + " refs/heads/a")),
		"two dots":         string(commands(none + " " + some + " refs/heads/a..b")),
		"out of refs":      string(commands(none + " " + some + " HEAD")),
		"a space":          string(commands(none + " " + some + " refs/heads/a b")),
		"a newline":        string(commands(none + " " + some + " refs/heads/a\nb")),
		"an escape":        string(commands(none + " " + some + " refs/heads/a\x1b[0m")),
		"nothing of none":  string(commands(none + " " + none + " refs/heads/a")),
		"a signed push":    string(line("push-cert\x00report-status")) + "0000",
		"options":          string(line(none+" "+some+" refs/heads/a\x00push-options")) + "0000",
		"a short line":     "0003",
		"no length":        "zzzz",
		"an early end":     "0040abc",
		"too many":         string(commands(strings.Fields(strings.Repeat("x ", maxCommands+1))...)),
	} {
		if p, err := ReadCommands(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%s was read as %+v", what, p.Commands)
		}
	}
}

// repository has commits A <- B <- C on main and A <- D on side, trees and deltas.
const repository = `git init -q -b main .; git config user.name a; git config user.email a@a.test; mkdir -p .github/workflows src/deep
seq 2000 >src/deep/f; seq 200 | xargs -I{} sh -c 'echo {} >src/{}'; echo x >.github/workflows/ci.yml; git add .; git commit -qm A; git branch A
sed -i s/^7$/seven/ src/deep/f; git commit -qam B; git branch B; sed -i s/^9$/nine/ src/deep/f; git commit -qam C; git branch C
echo y >>.github/workflows/ci.yml; git commit -qam W; git branch W; git checkout -qb D A; echo d >d; git add d; git commit -qm D`

func TestWhatAPackTells(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is missing")
	}
	dir := t.TempDir()
	git := func(script string) []byte {
		t.Helper()
		cmd := exec.Command("sh", "-ec", script)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		return out
	}
	git(repository)
	id := func(name string) string { return strings.TrimSpace(string(git("git rev-parse " + name))) }
	for _, c := range []struct {
		old, new string // none is nothing
		flags    string
		what     string // rewrites, workflows, unclear
	}{
		{"A", "B", "", ""},
		{"A", "C", "", ""},
		{"B", "A", "", "rewrites"},
		{"B", "D", "", "rewrites"},
		{"C", "W", "", "workflows"},
		{"A", "W", "", "workflows"},
		{"none", "D", "", "workflows"}, // all of it is new
		{"A", "C", "--thin", "rewrites? workflows unclear"},
	} {
		command := Command{Old: none, New: id(c.new), Ref: "refs/heads/x"}
		revs := command.New
		if c.old != "none" {
			command.Old = id(c.old)
			revs += "\\n^" + command.Old
		}
		body := append(commands(command.Old+" "+command.New+" refs/heads/x"), git("printf '"+revs+"\\n' | git pack-objects --revs --stdout -q --delta-base-offset "+c.flags)...)
		r := bufio.NewReader(bytes.NewReader(body))
		p, err := ReadCommands(r)
		if err == nil {
			err = p.ReadPack(r)
		}
		if err != nil {
			t.Errorf("%s to %s %s: %v", c.old, c.new, c.flags, err)
			continue
		}
		for what, got := range map[string]bool{"rewrites": p.Rewrites(p.Commands[0]), "workflows": p.Workflows(), "unclear": p.Unclear()} {
			if !strings.Contains(c.what, what+"?") && got != strings.Contains(c.what, what) {
				t.Errorf("%s to %s %s: %s is %v", c.old, c.new, c.flags, what, got)
			}
		}
		// Whatever is cut off or put behind is no pack.
		for _, wrong := range [][]byte{body[:len(body)-1], body[:len(body)-30], append(bytes.Clone(body), 'x')} {
			r := bufio.NewReader(bytes.NewReader(wrong))
			if p, err := ReadCommands(r); err != nil || p.ReadPack(r) == nil {
				t.Errorf("%s to %s: %d bytes instead of %d were taken", c.old, c.new, len(wrong), len(body))
			}
		}
	}
}

func TestNoThin(t *testing.T) {
	advertised := string(line("# service=git-receive-pack\n")) + "0000" + string(line(some+" refs/heads/main\x00report-status delete-refs\n")) + string(line(some+" refs/heads/x\n")) + "0000"
	got, err := io.ReadAll(NoThin(io.NopCloser(strings.NewReader(advertised))))
	want := strings.Replace(advertised, string(line(some+" refs/heads/main\x00report-status delete-refs\n")), string(line(some+" refs/heads/main\x00no-thin report-status delete-refs\n")), 1)
	if err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, other := range []string{"", "0", "0000", "<html>", "zzzz", "ffff", "0004", "000", advertised[:20], "001e# service=git-receive-pack\n0000"} {
		if got, err := io.ReadAll(NoThin(io.NopCloser(strings.NewReader(other)))); err != nil || string(got) != other {
			t.Errorf("%q became %q, %v", other, got, err)
		}
	}
}

func TestRefusal(t *testing.T) {
	p := &Push{Commands: []Command{{none, some, "refs/heads/a"}}, caps: []string{"report-status"}}
	if got := string(p.Refusal("no\nway", "help")); got != "000eunpack ok\n001bng refs/heads/a no way\n0000" {
		t.Errorf("%q", got)
	}
	p.caps = append(p.caps, "side-band-64k")
	if got := string(p.Refusal("no", "help\n")); !strings.HasPrefix(got, "000a\x02help\n") || !strings.Contains(got, "\x01000eunpack ok\n") || !strings.HasSuffix(got, "0000") {
		t.Errorf("%q", got)
	}
	if got := (&Push{}).Refusal("no", "help"); got != nil {
		t.Errorf("%q", got)
	}
}

func FuzzReceivePack(f *testing.F) {
	f.Add(commands(none + " " + some + " refs/heads/a"))
	f.Add(append(commands(none+" "+some+" refs/heads/a"), "PACK\x00\x00\x00\x02\x00\x00\x00\x01\x90x\x9c"...))
	f.Add([]byte("0000"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := bufio.NewReader(bytes.NewReader(body))
		p, err := ReadCommands(r)
		if err != nil {
			return
		}
		err = p.ReadPack(r)
		for _, c := range p.Commands {
			if strings.ContainsAny(c.Ref, " \n\x1b\x00") || !strings.HasPrefix(c.Ref, "refs/") {
				t.Fatalf("a ref is %q", c.Ref)
			}
			if err == nil && !p.Rewrites(c) && !c.Creates() && c.New != c.Old && p.pack.commits[c.New] == nil {
				t.Fatalf("%+v is said to go forward, and its commit is not here", c)
			}
		}
		_ = p.Workflows()
	})
}

func FuzzDelta(f *testing.F) {
	f.Add([]byte("hello, world"), []byte("\x0c\x05\x90\x05"))
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		if out, err := patch(base, delta); err == nil && len(out) > maxObject {
			t.Fatal(len(out))
		}
		_ = hasWorkflows(base, 20)
		_ = fmt.Sprint(parents(base))
	})
}
