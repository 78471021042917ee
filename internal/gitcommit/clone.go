package gitcommit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Clone is a copy of a commit for a sandbox: its files, and a repository with one branch more.
type Clone struct {
	Base string // the commit
	// Objects is the directory that has the repository's objects, "" when the clone has them itself. Inside, it
	// must be what MakeClone was told.
	Objects string
}

// MakeClone makes a clone of HEAD in the directory into, which does not exist yet and which no agent has ever
// written, with the branch checked out. Objects are not copied: the clone looks for them at the path objects.
// What is not committed is not in it.
func (r *Repository) MakeClone(ctx context.Context, into, branch, objects string) (Clone, error) {
	c := Clone{Base: r.resolve(ctx, "HEAD")}
	fail := func(err error) (Clone, error) { return Clone{}, fmt.Errorf("cannot clone %s: %w", r.dir, err) }
	if c.Base == "" {
		return fail(errors.New("nothing is committed yet"))
	}
	if r.prefix != "" {
		return fail(errors.New("it is not the top of its repository"))
	}
	if r.resolve(ctx, "refs/heads/"+branch) != "" {
		return fail(fmt.Errorf("the branch %s exists", branch))
	}
	if _, err := r.git(ctx, nil, "check-ref-format", "--branch", branch); err != nil {
		return fail(err)
	}
	out, err := r.git(ctx, nil, "rev-parse", "--path-format=absolute", "--git-common-dir")
	if err != nil {
		return fail(err)
	}
	common := strings.TrimSuffix(string(out), "\n")
	args := []string{"clone", "-q", "--no-checkout", "--template="}
	if _, err := os.Stat(filepath.Join(common, "objects/info/alternates")); errors.Is(err, fs.ErrNotExist) {
		args = append(args, "--shared")
	} else {
		args = append(args, "--no-hardlinks") // objects that are elsewhere again could not be shown
	}
	if _, err := r.git(ctx, nil, append(args, "--", common, into)...); err != nil {
		return fail(err)
	}
	clone := &Repository{dir: into, env: r.env}
	if _, err := clone.git(ctx, nil, "checkout", "-q", "-B", branch, c.Base); err != nil {
		return fail(err)
	}
	for _, key := range []string{"user.name", "user.email"} {
		if out, err := r.git(ctx, nil, "config", key); err == nil {
			if _, err := clone.git(ctx, nil, "config", key, strings.TrimSpace(string(out))); err != nil {
				return fail(err)
			}
		}
	}
	// The remote is the user's own, if there is one: a path on the host means nothing inside.
	if out, err := r.git(ctx, nil, "config", "remote.origin.url"); err == nil {
		_, err = clone.git(ctx, nil, "remote", "set-url", "origin", strings.TrimSpace(string(out)))
		if err != nil {
			return fail(err)
		}
	} else if _, err := clone.git(ctx, nil, "remote", "remove", "origin"); err != nil {
		return fail(err)
	}
	alternates := filepath.Join(into, ".git/objects/info/alternates")
	if _, err := os.Stat(alternates); err == nil {
		c.Objects = filepath.Join(common, "objects")
		if err := os.WriteFile(alternates, []byte(objects+"\n"), 0o644); err != nil {
			return fail(err)
		}
	}
	return c, nil
}
