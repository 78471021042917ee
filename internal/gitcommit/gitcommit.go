// Package gitcommit makes a commit in the user's own repository out of bytes that it is given. The user's git does
// it, with the user's identity and signing key; but no file of the working tree is read, and no hook, filter or file
// system monitor runs. It is for repositories that no agent can write: a project under review, never a sandbox's
// own copy.
package gitcommit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
)

// File is a path of the project as it will be committed.
type File struct {
	Path string                               // relative to the project
	Mode string                               // 100644, 100755 or 120000; "" removes the path
	Open func() (io.ReadCloser, int64, error) // the content, and how many bytes it has
}

// Repository is the one that a project lies in.
type Repository struct {
	dir    string // of the project
	prefix string // the project within the working tree, "" or with a slash at its end
	env    []string
}

// Open finds the repository of the directory dir. environ is the user's environment.
func Open(ctx context.Context, dir string, environ []string) (*Repository, error) {
	r := &Repository{dir: dir}
	for _, kv := range environ {
		// What a hook's environment says of another repository is not meant here.
		if !strings.HasPrefix(kv, "GIT_DIR=") && !strings.HasPrefix(kv, "GIT_INDEX_FILE=") && !strings.HasPrefix(kv, "GIT_WORK_TREE=") &&
			!strings.HasPrefix(kv, "GIT_OBJECT_DIRECTORY=") && !strings.HasPrefix(kv, "GIT_PREFIX=") {
			r.env = append(r.env, kv)
		}
	}
	r.env = append(r.env, "GIT_TERMINAL_PROMPT=0")
	out, err := r.git(ctx, nil, "rev-parse", "--show-prefix")
	if err != nil {
		return nil, fmt.Errorf("cannot commit: %s is in no git repository: %w", dir, err)
	}
	r.prefix = strings.TrimSuffix(string(out), "\n")
	return r, nil
}

// git runs one command that reads nothing of the working tree, and returns its output.
func (r *Repository) git(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	fixed := []string{"--no-replace-objects", "-C", r.dir, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=false"}
	cmd := exec.CommandContext(ctx, "git", append(fixed, args...)...)
	cmd.Env, cmd.Stdin = r.env, stdin
	var told bytes.Buffer
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		if why := strings.TrimSpace(told.String()); why != "" {
			err = errors.New(strings.Join(strings.Fields(why), " "))
		}
		return out, fmt.Errorf("git %s: %w", args[0], err)
	}
	return out, nil
}

// Filtered lists those of the paths that attributes have git pass through a program when it stores them: what would
// be committed is then not what the file has.
func (r *Repository) Filtered(ctx context.Context, paths []string) ([]string, error) {
	var in bytes.Buffer
	for _, p := range paths {
		in.WriteString(p + "\x00")
	}
	out, err := r.git(ctx, &in, "check-attr", "-z", "--stdin", "filter")
	if err != nil {
		return nil, err
	}
	var filtered []string
	fields := strings.Split(string(out), "\x00") // path, attribute, value
	for i := 0; i+2 < len(fields); i += 3 {
		if v := fields[i+2]; v != "unspecified" && v != "unset" {
			filtered = append(filtered, fields[i])
		}
	}
	return filtered, nil
}

// Check says whether a commit could be made: that git knows who the user is and, of a branch, that it may have
// the name and that no working tree has it checked out, which would not follow.
func (r *Repository) Check(ctx context.Context, branch string) error {
	if _, err := r.git(ctx, nil, "var", "GIT_COMMITTER_IDENT"); err != nil {
		return fmt.Errorf("cannot commit: %w", err)
	}
	if branch == "" {
		return nil
	}
	if _, err := r.git(ctx, nil, "check-ref-format", "--branch", branch); err != nil {
		return fmt.Errorf("cannot commit: %w", err)
	}
	out, err := r.git(ctx, nil, "worktree", "list", "--porcelain")
	if err != nil {
		return fmt.Errorf("cannot commit: %w", err)
	}
	if strings.Contains("\n"+string(out), "\nbranch refs/heads/"+branch+"\n") {
		return fmt.Errorf("cannot commit: the branch %s is checked out: git switch to another one", branch)
	}
	return nil
}

// Commit makes a commit of HEAD with files changed, moves the branch that HEAD is on to it, and returns its name.
// The user's index follows where it was as HEAD: what they have staged besides stays staged.
func (r *Repository) Commit(ctx context.Context, message string, files []File) (string, error) {
	head := r.resolve(ctx, "HEAD")
	commit, err := r.commit(ctx, head, message, files)
	if err != nil {
		return "", fmt.Errorf("cannot commit: %w", err)
	}
	// What is staged is compared with the old HEAD, so before it moves.
	index, err := r.followers(ctx, head, commit, files)
	if err == nil {
		err = r.move(ctx, "HEAD", head, commit, message)
	}
	if err != nil {
		return "", fmt.Errorf("cannot commit: %w", err)
	}
	if len(index) > 0 {
		if _, err := r.git(ctx, bytes.NewReader(index), "update-index", "-z", "--index-info"); err != nil {
			return commit, fmt.Errorf("the commit is made, but the index does not know of it: %w", err)
		}
	}
	return commit, nil
}

// CommitTo is Commit for a branch that nobody has checked out, which begins at the commit base when it does not
// exist yet.
func (r *Repository) CommitTo(ctx context.Context, branch, base, message string, files []File) (string, error) {
	ref := "refs/heads/" + branch
	tip := r.resolve(ctx, ref)
	parent := tip
	if parent == "" {
		parent = base
	}
	commit, err := r.commit(ctx, parent, message, files)
	if err == nil {
		err = r.move(ctx, ref, tip, commit, message)
	}
	if err != nil {
		return "", fmt.Errorf("cannot commit: %w", err)
	}
	return commit, nil
}

// resolve is the commit that a name stands for, "" if there is none.
func (r *Repository) resolve(ctx context.Context, name string) string {
	out, err := r.git(ctx, nil, "rev-parse", "--verify", "--quiet", name+"^{commit}")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// move has a ref lead from one commit to another, and nowhere if it leads elsewhere by now.
func (r *Repository) move(ctx context.Context, ref, from, to, message string) error {
	subject, _, _ := strings.Cut(message, "\n")
	_, err := r.git(ctx, nil, "update-ref", "-m", "commit (bailey apply): "+subject, ref, to, from)
	return err
}

// commit writes a commit that no ref leads to yet.
func (r *Repository) commit(ctx context.Context, head, message string, files []File) (string, error) {
	temp := fmt.Sprintf("refs/bailey/apply-%d", os.Getpid())
	tree, err := r.tree(ctx, temp, head, files)
	if err != nil {
		return "", err
	}
	args := []string{"commit-tree", tree}
	if head != "" {
		args = append(args, "-p", head)
	}
	if out, err := r.git(ctx, nil, "config", "--type=bool", "commit.gpgSign"); err == nil && strings.TrimSpace(string(out)) == "true" {
		args = append(args, "-S")
	}
	out, err := r.git(ctx, strings.NewReader(message), args...)
	return strings.TrimSpace(string(out)), err
}

// tree writes the tree of the commit head with files changed, and returns its name. git reads them from a stream, and
// needs neither an index nor a working tree for that.
func (r *Repository) tree(ctx context.Context, temp, head string, files []File) (string, error) {
	read, write := io.Pipe()
	go func() { write.CloseWithError(stream(write, temp, head, r.prefix, files)) }()
	_, err := r.git(ctx, read, "fast-import", "--quiet", "--force", "--done", "--date-format=now")
	read.CloseWithError(errors.New("git has ended"))
	if err != nil {
		return "", err
	}
	out, err := r.git(ctx, nil, "rev-parse", "--verify", temp+"^{tree}")
	_, delErr := r.git(ctx, nil, "update-ref", "-d", temp)
	return strings.TrimSpace(string(out)), errors.Join(err, delErr)
}

// stream writes what git fast-import reads.
func stream(w io.Writer, ref, head, prefix string, files []File) error {
	fmt.Fprintf(w, "commit %s\ncommitter bailey <> now\ndata 0\n", ref)
	if head != "" {
		fmt.Fprintf(w, "from %s\n", head)
	}
	for _, f := range files {
		name := quote(path.Join(prefix, f.Path))
		if f.Mode == "" {
			fmt.Fprintf(w, "D %s\n", name)
		}
	}
	for _, f := range files {
		if f.Mode == "" {
			continue
		}
		content, size, err := f.Open()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "M %s inline %s\ndata %d\n", f.Mode, quote(path.Join(prefix, f.Path)), size)
		n, err := io.Copy(w, io.LimitReader(content, size))
		content.Close()
		if err != nil {
			return err
		}
		if n != size {
			return fmt.Errorf("%q has become shorter", f.Path)
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintln(w, "done")
	return err
}

// quote is a path as fast-import reads every one, whatever bytes it has.
func quote(p string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(p) {
		switch c := p[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// followers is what git update-index reads to have the index follow to the commit at the files' paths, but where
// something else than head's is staged.
func (r *Repository) followers(ctx context.Context, head, commit string, files []File) ([]byte, error) {
	staged := map[string]bool{}
	if head != "" {
		out, err := r.git(ctx, nil, "diff-index", "--cached", "--no-renames", "--name-only", "-z", head)
		if err != nil {
			return nil, err
		}
		for _, p := range strings.Split(string(out), "\x00") {
			staged[p] = true
		}
	}
	out, err := r.git(ctx, nil, "ls-tree", "-r", "-z", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	now := map[string]string{} // path → mode, type, name
	for _, line := range strings.Split(string(out), "\x00") {
		if entry, p, ok := strings.Cut(line, "\t"); ok {
			now[p] = entry
		}
	}
	var b bytes.Buffer
	for _, f := range files {
		p := path.Join(r.prefix, f.Path)
		if staged[p] {
			continue
		}
		fields := strings.Fields(now[p])
		if len(fields) != 3 {
			fmt.Fprintf(&b, "0 %s\t%s\x00", strings.Repeat("0", len(commit)), p)
			continue
		}
		fmt.Fprintf(&b, "%s %s\t%s\x00", fields[0], fields[2], p)
	}
	return b.Bytes(), nil
}

// Branch is the branch of that name, the one that is checked out when it is "". It must have a commit.
func (r *Repository) Branch(ctx context.Context, name string) (string, error) {
	if name == "" {
		out, err := r.git(ctx, nil, "symbolic-ref", "--quiet", "--short", "HEAD")
		if err != nil {
			return "", errors.New("no branch is checked out")
		}
		name = strings.TrimSpace(string(out))
	}
	if r.resolve(ctx, "refs/heads/"+name) == "" {
		return "", fmt.Errorf("the branch %s has no commit yet", name)
	}
	return name, nil
}
