package workspace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Roots are places that no workspace may contain or lie in. Links in them are followed.
type Roots struct {
	Home string   // the user's home directory; its parents are refused too, its projects are not
	Own  []string // bailey's own directories, which need not exist
}

// Resolve checks a path that the user gave as a workspace and returns it absolute, clean and free of
// symbolic links. The error says in one line what is wrong with it, with a hint.
func Resolve(path string, r Roots) (string, error) {
	if err := checkCharacters(path); err != nil {
		return "", err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("cannot use %s as a workspace: %w", path, err)
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, os.ErrNotExist) {
		return "", sandbox.WithHint(fmt.Errorf("cannot use %s as a workspace: it does not exist", path), "mkdir -p "+Quote(path))
	}
	if err != nil {
		return "", fmt.Errorf("cannot use %s as a workspace: %w", path, err)
	}
	if err := checkCharacters(real); err != nil {
		return "", err
	}
	if err := checkReadable(real); err != nil {
		return "", err
	}
	if why := r.danger(real); why != "" {
		return "", sandbox.WithHint(fmt.Errorf("cannot use %s as a workspace: it %s", real, why),
			"give the directory of one project: bailey run AGENT path/to/project")
	}
	return real, nil
}

// checkCharacters refuses paths that would break the line they are printed on or the tools that read it.
// Colons, commas, quotes and spaces are fine: mounts are made by file descriptor.
func checkCharacters(path string) error {
	if path == "" {
		return fmt.Errorf("cannot use a workspace without a name")
	}
	bad := func(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) }
	if !utf8.ValidString(path) || strings.ContainsFunc(path, bad) {
		return sandbox.WithHint(fmt.Errorf("cannot use %q as a workspace: its name has control or invalid characters", path),
			"rename the directory")
	}
	return nil
}

func checkReadable(path string) error {
	d, err := os.Open(path)
	if err == nil {
		defer d.Close()
		_, err = d.ReadDir(1)
	}
	switch {
	case err == nil, err == io.EOF:
		return nil
	case errors.Is(err, os.ErrPermission):
		return sandbox.WithHint(fmt.Errorf("cannot use %s as a workspace: it cannot be read", path), "ls -ld "+Quote(path))
	}
	if info, statErr := os.Stat(path); statErr == nil && !info.IsDir() {
		return sandbox.WithHint(fmt.Errorf("cannot use %s as a workspace: it is not a directory", path),
			"give its directory: "+Quote(filepath.Dir(path)))
	}
	return fmt.Errorf("cannot use %s as a workspace: %w", path, err)
}

// danger says why path, which is real, must not be shown to an agent, or "".
func (r Roots) danger(path string) string {
	if r.Home != "" && within(realOr(r.Home), path) {
		if path == realOr(r.Home) {
			return "is your home directory"
		}
		return "contains your home directory"
	}
	for _, dir := range r.Own {
		if real := realOr(dir); within(path, real) || within(real, path) {
			return "overlaps bailey's own directory " + dir
		}
	}
	if r.Home != "" {
		for _, name := range privateInHome() {
			dir := filepath.Join(r.Home, name)
			if real := realOr(dir); within(path, real) || within(real, path) {
				return "overlaps " + dir + ", which is private"
			}
		}
	}
	for _, dir := range wholeSystem() {
		if path == realOr(dir) {
			return "is a system directory"
		}
	}
	for _, dir := range systemTrees() {
		if real := realOr(dir); within(path, real) && !within(path, "/dev/shm") && !within(path, "/run/media") {
			return "belongs to the system, as all of " + dir + " does"
		}
	}
	if path == "/dev/shm" || path == "/run/media" {
		return "is a system directory"
	}
	return ""
}

// wholeSystem are directories that are no workspace, although projects may lie in them.
func wholeSystem() []string {
	return []string{"/", "/home", "/root", "/tmp", "/var", "/var/tmp", "/var/lib", "/var/log", "/var/cache", "/var/www",
		"/usr", "/usr/local", "/usr/src", "/opt", "/srv", "/mnt", "/media", "/Users", "/Applications"}
}

// systemTrees are directories in which nothing is a workspace: the host runs on what is in them.
func systemTrees() []string {
	return []string{"/etc", "/boot", "/dev", "/proc", "/sys", "/run", "/bin", "/sbin", "/lib", "/lib32", "/lib64",
		"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/share", "/usr/include", "/usr/local/bin", "/usr/local/sbin",
		"/var/spool", "/var/run", "/System", "/Library"}
}

// privateInHome are directories of the home with credentials, or with programs and settings that the host
// runs. ~/.local and ~/.cache as a whole are missing because people keep projects below them.
func privateInHome() []string {
	return []string{".ssh", ".gnupg", ".aws", ".azure", ".config", ".kube", ".docker", ".password-store", ".pki",
		".claude", ".codex", ".gemini", ".cursor", ".copilot", ".aider", ".continue", ".opencode", ".vscode", ".vscode-server",
		".mozilla", ".thunderbird", ".local/bin", ".local/share/keyrings", ".local/share/applications",
		".cargo", ".rustup", ".nvm", ".npm", ".pyenv", ".rbenv", ".volta", ".bun", ".deno", ".sdkman", ".asdf", ".oh-my-zsh", "bin"}
}

// realOr is path without links, or path itself where it does not exist.
func realOr(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}

// Quote makes path one word for a shell.
func Quote(path string) string {
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
