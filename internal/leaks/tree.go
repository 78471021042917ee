package leaks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// What of a project is read at most.
const (
	maxFile  = 1 << 20 // bytes; a larger one is not read
	maxTotal = 256 << 20
	maxFiles = 100_000
)

// Tree finds the secrets in the regular files below dir, as they are now. It follows no link and waits for no file. Where
// it does not read everything, partly says why.
func (r *Rules) Tree(ctx context.Context, dir string) (found []Finding, partly string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", err
	}
	defer root.Close()
	files, total, large := 0, 0, 0
	full := errors.New("full")
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return nil // it cannot be read, or is gone
		case d.IsDir() && (d.Name() == ".git" || name != "." && r.Passes(name)):
			return fs.SkipDir
		case !d.Type().IsRegular() || r.Passes(name):
			return nil
		case files == maxFiles || total > maxTotal || len(found) >= maxAll:
			return full
		}
		text, err := readPlain(root, name)
		if errors.Is(err, errLarge) {
			large++
		}
		if err != nil {
			return nil
		}
		files, total = files+1, total+len(text)
		found = append(found, r.scan(name, text)...)
		return nil
	})
	switch {
	case errors.Is(err, full):
		return found, fmt.Sprintf("it has more than %d files, %d MiB or %d findings", maxFiles, maxTotal>>20, maxAll), nil
	case errors.Is(err, context.DeadlineExceeded):
		return found, "it takes too long", nil
	case large > 0:
		partly = fmt.Sprintf("%d files are larger than 1 MiB", large)
	}
	return found, partly, err
}

var errLarge = errors.New("it is not read")

// readPlain reads a small regular file of a tree in which somebody else may change names meanwhile.
func readPlain(root *os.Root, name string) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, errLarge
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// LogArgs is the git command whose output History reads: the last commits of all branches, with what they added. It is
// for inside of a sandbox only, since a repository's settings can have git execute programs.
func LogArgs(dir string, commits int) []string {
	return []string{"git", "-C", dir, "-c", "core.quotePath=false", "log", "--all", "-p", "-U0", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "-m", "--first-parent",
		"-n", fmt.Sprint(commits), "--format=commit %h"}
}

// History finds the secrets that commits have brought, in git's log as LogArgs asks for it. What else stands there is
// passed over.
func (r *Rules) History(ctx context.Context, log []byte) (found []Finding) {
	commit := regexp.MustCompile(`^commit ([0-9a-f]{4,64})$`)
	of, name := "", ""
	var added bytes.Buffer
	flush := func() {
		if name != "" && added.Len() > 0 {
			for _, f := range r.Scan(name, added.Bytes()) {
				f.Line, f.Commit = 0, of
				if !slices.Contains(found, f) {
					found = append(found, f)
				}
			}
		}
		added.Reset()
	}
	for line := range strings.Lines(string(log)) {
		text := strings.TrimRight(line, "\n")
		switch {
		case ctx.Err() != nil || len(found) >= maxAll:
			return found
		case commit.MatchString(text):
			flush()
			of, name = commit.FindStringSubmatch(text)[1], ""
		case strings.HasPrefix(text, "diff --git "):
			flush()
			name = ""
		case name == "" && strings.HasPrefix(text, "+++ b/"):
			name = path.Clean(strings.TrimSuffix(strings.TrimPrefix(text, "+++ b/"), "\t")) // which git adds to names with spaces
		case name == "" && strings.HasPrefix(text, `+++ "b/`):
			name = path.Clean(strings.Trim(strings.TrimPrefix(text, `+++ "b/`), `"`)) // a name with odd bytes, as git spells them
		case name != "" && strings.HasPrefix(line, "+") && added.Len() < maxFile:
			added.WriteString(line[1:])
		}
	}
	flush()
	return found
}
