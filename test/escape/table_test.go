//go:build linux

package escape

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const tableHead = `# What was tried to get out

Every line is an attack that was made inside a sandbox and judged from outside, by ` + "`test/escape`" + `. *control* says whether the same attack
works in a weak set-up (bubblewrap that shows the whole host, with every right and without a filter): a case whose
control did not lose proves nothing and fails, unless the kernel itself forbids the attack to that user. *documented* are the
known limits of SECURITY.md, shown at work.

    go test ./test/escape -table docs/escape.md      as root, and as ordinary users with and without subordinate ids

`

// writeTable replaces the section of this kind of user in file, and leaves the others.
func writeTable(file, kind string, rows []row) error {
	if !filepath.IsAbs(file) {
		file = filepath.Join("../..", file)
	}
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sections := map[string]string{}
	for _, s := range strings.Split("\n"+string(old), "\n## ")[1:] {
		name, _, _ := strings.Cut(s, "\n")
		sections[name] = strings.TrimSpace(s)
	}
	names := map[string]string{"root": "As root", "ids": "As an ordinary user with subordinate ids", "plain": "As an ordinary user without subordinate ids"}
	sections[names[kind]] = strings.TrimSpace(names[kind] + "\n\n" + table(rows))
	text := tableHead
	names["races"] = "Races" // written by hand, from TestRaces with -long
	for _, k := range []string{"root", "ids", "plain", "races"} {
		if s := sections[names[k]]; s != "" {
			text += "## " + s + "\n\n"
		}
	}
	return os.WriteFile(file, []byte(strings.TrimSpace(text)+"\n"), 0o644)
}

func table(rows []row) string {
	var b strings.Builder
	counts := map[string]int{}
	for _, r := range rows {
		counts[r.v.result(r.a)]++
	}
	fmt.Fprintf(&b, "%d cases: %d pass, %d documented, %d n/a, %d fail. %s.\n\n", len(rows), counts["pass"], counts["documented"], counts["n/a"], counts["fail"], versions())
	b.WriteString("| group | case | backend | control | ran | result | reason |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		ran := map[bool]string{true: "yes", false: "no"}[r.v.ran]
		reason := strings.NewReplacer("|", `\|`, "\n", "; ", os.Getenv(rootVariable), "…").Replace(r.v.why())
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.a.group, r.a.id, r.backend, orDash(r.v.control), ran, r.v.result(r.a), reason)
	}
	return b.String()
}

// versions names what the results were made with.
func versions() string {
	first := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			return name + " unknown"
		}
		line, _, _ := strings.Cut(string(out), "\n")
		return line
	}
	return strings.Join([]string{first("uname", "-srm"), fmt.Sprint(runtime.NumCPU(), " cores"), first("bwrap", "--version"), first("git", "--version"), runtime.Version()}, ", ")
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
