// Package risk says of a change to a project what a reviewer must not miss: that the host will execute it, that
// it leads out of the project, gains rights, holds a secret, or hides something from the eye. It is pure and
// judges names and contents alone; it allows and refuses nothing. That a source file runs when it is built or
// tested is true of every one, and not said here.
package risk

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/leaks"
	"github.com/bailey-sandbox/bailey/internal/workspace"
)

// Kind is a class of risks, the gravest first.
type Kind string

const (
	// Executes: the host, or a machine that builds for it, runs this without being asked.
	Executes Kind = "executes"
	// Builds: it decides what runs when the project is built, installed or tested, beside the code itself.
	Builds Kind = "builds"
	// Instructs: agents take it for instructions.
	Instructs Kind = "instructs"
	// Leaves: it leads out of the project.
	Leaves Kind = "leaves"
	// Rights: it gives more rights than before.
	Rights Kind = "rights"
	// Secret: it has what looks like a secret.
	Secret Kind = "secret"
	// Hides: it has characters that do not show, or that a terminal obeys.
	Hides Kind = "hides"
	// Opaque: nobody can look into it.
	Opaque Kind = "opaque"
)

// Risk is one reason to look, in a phrase for people.
type Risk struct {
	Kind Kind   `json:"kind"`
	Why  string `json:"why"`
}

// Assessor finds risks. It is safe for concurrent use.
type Assessor struct{ Leaks *leaks.Rules }

// Change is what an Assessor looks at. Before and After are the contents of files, nil where there are none or
// where they are too large to be read.
type Change struct {
	changes.Change
	Before, After []byte
}

// Assess lists the risks of a change, the gravest first. Removing something has none.
func (a Assessor) Assess(c Change) []Risk {
	var all []Risk
	add := func(kind Kind, format string, args ...any) {
		all = append(all, Risk{kind, fmt.Sprintf(format, args...)})
	}
	if odd := oddRunes(c.Path, ""); odd != "" {
		add(Hides, "its name has %s", odd)
	}
	switch c.New.Kind {
	case "":
		if why := executes(c.Path); why != "" {
			add(Executes, "%s, and is removed", why)
		}
		return all
	case changes.Special:
		add(Opaque, "is a %s", c.New.Why)
		return all
	case changes.Unreadable:
		add(Opaque, "cannot be read: %s", c.New.Why)
		return all
	}
	if why := executes(c.Path); why != "" {
		add(Executes, "%s", why)
	}
	if c.New.Kind == changes.Link {
		if leaves(c.Path, c.New.Target) {
			add(Leaves, "is a link out of the project, to %q", c.New.Target)
		}
		return all
	}
	for _, why := range builds(c) {
		add(Builds, "%s", why)
	}
	if instructs(c.Path) {
		add(Instructs, "agents read it as instructions")
	}
	for _, why := range rights(c) {
		add(Rights, "%s", why)
	}
	if c.New.Kind == changes.File && c.After == nil && c.New.Size > 0 {
		add(Opaque, "is too large to be looked through")
	}
	for _, what := range a.secrets(c) {
		add(Secret, "line %d has what looks like a secret: %s", what.Line, what.What)
	}
	if odd := oddRunes(string(c.After), string(c.Before)); odd != "" {
		add(Hides, "has %s", odd)
	}
	return all
}

// secrets finds those that were not there before.
func (a Assessor) secrets(c Change) []leaks.Finding {
	if len(c.After) == 0 || a.Leaks == nil {
		return nil
	}
	lines := strings.Split(string(c.After), "\n")
	old := strings.Split(string(c.Before), "\n")
	return slices.DeleteFunc(a.Leaks.Scan(c.Path, c.After), func(f leaks.Finding) bool {
		return f.Line > 0 && f.Line <= len(lines) && slices.Contains(old, lines[f.Line-1])
	})
}

// leaves says whether a link at the path leads out of the project. It judges the text: what it meets on its way
// are links of the project, which are judged for themselves.
func leaves(at, target string) bool {
	if path.IsAbs(target) {
		return true
	}
	led := path.Join(path.Dir(at), target)
	return led == ".." || strings.HasPrefix(led, "../")
}

func rights(c Change) (all []string) {
	if c.New.Mode&0o7000 != 0 && c.New.Kind == changes.File {
		all = append(all, "has set-id or sticky bits, which are not taken over")
	}
	gained := c.New.Mode &^ c.Old.Mode
	if c.Old.Kind == c.New.Kind && c.New.Kind == changes.File && gained&0o111 != 0 {
		all = append(all, "becomes executable")
	}
	if gained&0o002 != 0 {
		all = append(all, "can be written by everybody")
	}
	return all
}

// executes says why the host runs the file without being asked, or "".
func executes(p string) string {
	lower := strings.ToLower(p)
	elements := strings.Split(lower, "/")
	base := elements[len(elements)-1]
	for _, name := range workspace.HostExecuted() {
		name = strings.ToLower(name)
		if lower == name || strings.HasPrefix(lower, name+"/") || strings.HasSuffix(lower, "/"+name) || strings.Contains(lower, "/"+name+"/") {
			return "programs on this host execute or obey it"
		}
	}
	switch {
	case base == "bailey.yaml":
		return "it says what bailey hides and protects in this project"
	case base == ".gitmodules":
		return "git fetches what it names"
	case base == ".gitattributes":
		return "it chooses git's filters and drivers"
	case strings.HasPrefix(lower, ".github/workflows/"), strings.HasPrefix(lower, ".github/actions/"),
		strings.HasPrefix(lower, ".circleci/"), strings.HasPrefix(lower, ".buildkite/"), strings.HasPrefix(lower, ".woodpecker/"),
		strings.HasPrefix(lower, ".forgejo/workflows/"), strings.HasPrefix(lower, ".gitea/workflows/"), strings.HasPrefix(lower, ".teamcity/"),
		slices.Contains([]string{".gitlab-ci.yml", ".gitlab-ci.yaml", "jenkinsfile", "azure-pipelines.yml", ".drone.yml", ".travis.yml", "appveyor.yml",
			".appveyor.yml", "bitbucket-pipelines.yml", ".woodpecker.yml", "cloudbuild.yaml", ".cirrus.yml"}, base):
		return "it runs in continuous integration, which has the project's secrets"
	case slices.Contains(elements[:len(elements)-1], ".venv"), slices.Contains(elements[:len(elements)-1], "venv"):
		return "it is in an environment whose programs are first on the path"
	case strings.Contains(lower, "node_modules/.bin/"):
		return "scripts and editors run it by name"
	case isOfRepository(p):
		return "with refs and objects beside it, git takes the directory for a repository"
	}
	return ""
}

// isOfRepository: a bare repository is one by its names alone, and its configuration and hooks execute.
func isOfRepository(p string) bool {
	return path.Base(p) == "HEAD" || path.Base(path.Dir(p)) == "hooks" && slices.Contains([]string{"pre-commit", "post-checkout",
		"post-merge", "pre-push", "post-commit", "prepare-commit-msg", "commit-msg", "fsmonitor-watchman"}, path.Base(p))
}

func instructs(p string) bool {
	lower := strings.ToLower(p)
	switch path.Base(lower) {
	case "claude.md", "claude.local.md", "agents.md", "agents.override.md", "gemini.md", ".cursorrules", ".windsurfrules", ".clinerules", "copilot-instructions.md", "skill.md":
		return true
	}
	for _, dir := range []string{".claude", ".codex", ".gemini", ".cursor", ".opencode", ".agents", ".github/instructions", ".github/prompts"} {
		if strings.HasPrefix(lower, dir+"/") || strings.Contains(lower, "/"+dir+"/") {
			return true
		}
	}
	return false
}
