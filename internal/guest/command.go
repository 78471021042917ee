package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
)

// startError is a failure to start for which a shell has an exit code.
type startError struct {
	code int // 126 or 127
	msg  string
}

func (e *startError) Error() string { return e.msg }

// launch is a command made ready to execute.
type launch struct {
	path string // of the program: absolute, or relative to dir
	dir  string
	env  []string
	name string // argv[0], for messages
}

// plan resolves a command for a user.
func (s *Server) plan(cmd guestproto.Command, who identity) (launch, error) {
	l := launch{dir: cmd.Dir, name: cmd.Argv[0]}
	if !filepath.IsAbs(l.dir) {
		l.dir = filepath.Join(s.cfg.Workdir, l.dir)
	}
	if info, err := os.Stat(l.dir); err == nil && !info.IsDir() {
		return launch{}, fmt.Errorf("cannot start in %s: not a directory", l.dir)
	} else if errors.Is(err, fs.ErrNotExist) {
		return launch{}, fmt.Errorf("cannot start in %s: no such directory", l.dir)
	}
	own := []string{"HOME=" + who.Home, "USER=" + who.Name, "LOGNAME=" + who.Name, "SHELL=" + who.Shell}
	if cmd.TTY {
		term := cmd.Term
		if term == "" {
			term = "xterm-256color"
		}
		own = append(own, "TERM="+term)
	}
	l.env = mergeEnv(s.cfg.Env, own, cmd.Env)
	var err error
	l.path, err = lookPath(l.name, l.dir, l.env)
	return l, err
}

// explain gives a failed execve the message and code of a shell. Its name is known to exist by then, so a
// missing file is the interpreter of a script or the loader of a program.
func (l launch) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return &startError{127, fmt.Sprintf("%s: its interpreter is not there", l.name)}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOEXEC), errors.Is(err, syscall.EISDIR):
		return &startError{126, fmt.Sprintf("%s: cannot be executed: %v", l.name, err)}
	}
	return fmt.Errorf("%s: cannot be started: %w", l.name, err)
}

// mergeEnv joins environments; a later entry replaces an earlier one of the same name in its place.
func mergeEnv(lists ...[]string) []string {
	var merged []string
	at := map[string]int{}
	for _, list := range lists {
		for _, entry := range list {
			name, _, _ := strings.Cut(entry, "=")
			if i, ok := at[name]; ok {
				merged[i] = entry
				continue
			}
			at[name] = len(merged)
			merged = append(merged, entry)
		}
	}
	return merged
}

// lookPath finds a program as a shell in dir with env would. Unlike exec.LookPath it does not look at the
// guest's own environment or directory.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, checkProgram(name, absIn(dir, name))
	}
	var path string
	for _, entry := range env {
		if v, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = v
		}
	}
	missing := error(&startError{127, name + ": command not found"})
	for _, d := range strings.Split(path, ":") {
		// An empty entry means the current directory to a shell. Nobody writes one on purpose, and it
		// would run a file of the workspace in place of a command that is missing.
		if d == "" {
			continue
		}
		full := absIn(dir, filepath.Join(d, name))
		var e *startError
		err := checkProgram(name, full)
		if err == nil {
			return full, nil
		}
		if errors.As(err, &e) && e.code == 126 {
			missing = err
		}
	}
	return "", missing
}

func checkProgram(name, file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return &startError{127, name + ": no such file or directory"}
	case err != nil:
		return &startError{126, name + ": cannot be executed: permission denied"}
	case info.IsDir():
		return &startError{126, name + ": is a directory"}
	case info.Mode()&0o111 == 0:
		return &startError{126, name + ": cannot be executed: permission denied"}
	}
	return nil
}

func absIn(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
