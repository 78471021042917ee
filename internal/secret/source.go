package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

const (
	// maxValue bounds a secret, in bytes.
	maxValue = 64 << 10
	// commandTime is how long a command may take that prints a secret: a human may have to touch a key.
	commandTime = time.Minute
	// remembered is how long a value is used that no file tells the changes of.
	remembered = time.Minute
)

// reference is a source that somebody else keeps.
type reference struct{ kind, rest string }

// parseReference reads a source that is no keeper of ours.
func parseReference(source string) (reference, error) {
	kind, rest, _ := strings.Cut(source, ":")
	_, _, variable := dotenvParts(rest)
	switch {
	case kind == "op" && strings.HasPrefix(rest, "//") && len(rest) > 2 && !strings.ContainsAny(source, "\x00\n"):
		return reference{kind, source}, nil
	case kind == dotenv && variable,
		kind == "env" && rest != "" && !strings.ContainsAny(rest, "=\x00"),
		kind == "file" && filepath.IsAbs(rest) && !strings.Contains(rest, "\x00"),
		kind == "command" && strings.TrimSpace(rest) != "" && !strings.Contains(rest, "\x00"):
		return reference{kind, rest}, nil
	}
	return reference{}, fmt.Errorf("%q is no source: write keyring, age, op://VAULT/ITEM/FIELD, env:NAME, file:/PATH or command:COMMAND", source)
}

// read returns what the reference leads to.
func (r reference) read(ctx context.Context, s *Store) (string, error) {
	switch r.kind {
	case "env":
		return s.variable(r.rest)
	case "file":
		return readFile(r.rest)
	case dotenv:
		return readDotenv(r.rest)
	case "op":
		if _, err := exec.LookPath("op"); err != nil {
			return "", sandbox.WithHint(errors.New("the command of 1Password, op, is not installed"), "see https://developer.1password.com/docs/cli")
		}
		return run(ctx, s.environ("OP_"), "op", "read", "--no-newline", r.rest)
	}
	return run(ctx, s.environ(""), "sh", "-c", r.rest)
}

// variable is one of those that were lent for this run, or of this process.
func (s *Store) variable(name string) (string, error) {
	if value := s.Lent.Env[name]; value != "" {
		return value, nil
	}
	if value := s.Getenv(name); value != "" {
		return value, nil
	}
	return "", sandbox.WithHint(fmt.Errorf("the variable %s is not set where the sandbox was started", name),
		"export "+name+"=… before bailey start, or keep the value: bailey secret set")
}

// environ is what a program that prints a secret gets: what it needs to find its things, and its own variables.
func (s *Store) environ(prefix string) []string {
	var env []string
	for _, name := range []string{"HOME", "USER", "LOGNAME", "PATH", "LANG", "TMPDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "GNUPGHOME"} {
		if value := s.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	if prefix == "" {
		return env
	}
	for name, value := range s.Lent.Env {
		if strings.HasPrefix(name, prefix) {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// run returns what a program prints, without the newline at its end. Its error has no word of that.
func run(ctx context.Context, env []string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, complaint bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &limited{w: &out, left: maxValue + 2}, &limited{w: &complaint, left: 512}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it has left behind
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		text, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		return "", fmt.Errorf("%s: %w: %q", argv[0], err, text)
	}
	return checkValue(out.String())
}

// limited takes everything and keeps the beginning.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	_, err := l.w.Write(p[:n])
	return len(p), err
}

// readFile returns a file's content, without the newline at its end. Nobody but its owner may be able to change it, and
// only root's and the user's own files count.
func readFile(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is no file", path)
	case ok && owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return "", fmt.Errorf("%s belongs to another user", path)
	case info.Mode().Perm()&0o022 != 0:
		return "", sandbox.WithHint(fmt.Errorf("others can write %s", path), "chmod go-w "+path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxValue+2))
	if err != nil {
		return "", err
	}
	return checkValue(string(data))
}

// checkValue takes the newline off that editors and echo leave, and refuses what is no secret.
func checkValue(value string) (string, error) {
	value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	if value == "" {
		return "", errors.New("the value is empty")
	}
	if len(value) > maxValue {
		return "", fmt.Errorf("the value is longer than %d bytes", maxValue)
	}
	return value, nil
}
