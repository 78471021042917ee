package workspace

import (
	"fmt"
	"path"
	"strings"
)

// HostExecuted are names that make the host run something, or load what runs, when the user merely enters
// the directory, opens it in an editor, commits, or starts an agent or package manager there. A slash is
// for a name in a directory of that name. Files that run because the user builds the project are not here.
func HostExecuted() []string {
	return []string{
		// Entering the directory: direnv and mise evaluate these, and what direnv's layouts and caches keep.
		".envrc", ".direnv", ".mise.toml", "mise.toml", ".mise.local.toml", "mise.local.toml", ".mise", ".config/mise", ".config/mise.toml",
		// Opening it in an editor: tasks, debuggers, language servers, local start-up files.
		".vscode", ".idea", ".devcontainer", ".devcontainer.json", ".zed", ".fleet", ".exrc", ".nvimrc", ".nvim.lua", ".vimrc", ".dir-locals.el", ".dir-locals-2.el",
		".gdbinit", ".lldbinit",
		// Committing: hook managers run what these say; Mercurial's own hooks are in its configuration.
		".husky", ".githooks", ".pre-commit-config.yaml", ".overcommit.yml", ".hg/hgrc",
		"lefthook.yml", ".lefthook.yml", "lefthook.yaml", ".lefthook.yaml", "lefthook.toml", ".lefthook.toml", "lefthook-local.yml", ".lefthook",
		// Starting an agent: hooks, MCP servers, notification commands.
		".mcp.json", ".claude/settings.json", ".claude/settings.local.json", ".claude/hooks",
		".codex/config.toml", ".codex/hooks.json", ".cursor/mcp.json", ".cursor/hooks.json", ".gemini/settings.json",
		"opencode.json", "opencode.jsonc", ".opencode/plugin", ".opencode/plugins", ".roo/mcp.json", ".aider.conf.yml",
		// Any command of a package manager: interpreters, registries and plugins are chosen here.
		".npmrc", ".yarnrc", ".yarnrc.yml", ".yarn/releases", ".yarn/plugins", ".pnpmfile.cjs",
		".cargo/config", ".cargo/config.toml", "rust-toolchain", "rust-toolchain.toml",
	}
}

// gitPrivate are the paths in a git directory through which git executes or reads something else. Not
// here are HEAD, index, refs, objects and logs, without which nobody can commit; and sequences under way
// (rebase-merge), whose "exec" lines run when the user continues them. Remotes and branches are where
// old versions of git kept the addresses of repositories.
func gitPrivate() []string {
	return []string{"hooks", "config", "config.worktree", "info", "commondir", "objects/info/alternates", "remotes", "branches"}
}

// looksSecret reports whether a file of that name in the directory dir normally holds a credential. Keys
// among test data are what tests need and nobody's secret.
func looksSecret(dir, name string) bool {
	lower := strings.ToLower(name)
	if lower == ".env" || strings.HasPrefix(lower, ".env.") {
		switch path.Ext(lower) {
		case ".example", ".sample", ".template", ".dist", ".defaults":
			return false
		}
		return true
	}
	switch lower {
	case ".netrc", "_netrc", ".git-credentials", ".pgpass", ".pypirc", ".htpasswd", ".vault-token",
		"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk":
		return true
	}
	switch path.Ext(lower) {
	case ".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".ppk", ".kdbx":
		return !forTests(dir)
	}
	return false
}

func forTests(dir string) bool {
	for _, part := range strings.Split(strings.ToLower(dir), "/") {
		switch part {
		case "test", "tests", "testdata", "test-data", "__tests__", "fixtures", "__fixtures__", "spec", "specs", "examples", "mocks":
			return true
		}
	}
	return false
}

// check refuses patterns that can never match or are not well-formed: a protection that does nothing.
func (o Options) check() error {
	for _, pattern := range append(append([]string{}, o.Hide...), o.Protect...) {
		_, err := path.Match(pattern, "")
		clean := strings.TrimSuffix(pattern, "/")
		if err != nil || clean == "" || clean == "." || path.IsAbs(clean) || path.Clean(clean) != clean || strings.HasPrefix(clean, "../") || clean == ".." {
			return fmt.Errorf("invalid path pattern %q: it must be relative to the workspace, and .. may not be in it", pattern)
		}
	}
	return nil
}

// matches reports whether one of the patterns covers the path rel.
func matches(patterns []string, rel string) bool {
	for _, pattern := range patterns {
		pattern = strings.TrimSuffix(pattern, "/")
		subject := rel
		if !strings.Contains(pattern, "/") {
			subject = path.Base(rel)
		}
		if ok, _ := path.Match(pattern, subject); ok {
			return true
		}
	}
	return false
}
