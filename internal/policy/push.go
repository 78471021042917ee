package policy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Push is what a request would push with git over HTTP. Only a rule that names its repository and its branch allows
// one, whatever else is allowed on that host.
type Push struct {
	Repository string // the path before git's own, without ".git"; "" where servers could read it in different ways
	Ref        string // its full name, "" while only the request's head is known
	Rewrites   bool   // Ref loses commits, or that cannot be ruled out
	Workflows  bool   // what the forge itself runs may change
}

// PushIn returns the push that a request belongs to by its path and query, nil for one that belongs to none. It takes
// for a push what any server could take for one.
func PushIn(path, query string) *Push {
	const service = "git-receive-pack"
	asks := strings.Contains(strings.ToLower(unescape(query)), service)
	clean, clear := cleanPath(path)
	if !clear {
		if asks || strings.Contains(strings.ToLower(unescape(path)), service) {
			return &Push{}
		}
		return nil
	}
	bare := barePath(clean)
	repository, ends := strings.CutSuffix(bare, "/"+service)
	if !ends && asks {
		repository, ends = strings.CutSuffix(bare, "/info/refs")
	}
	switch {
	case ends && bare == clean:
		return &Push{Repository: strings.TrimSuffix(strings.TrimPrefix(repository, "/"), ".git")}
	case ends, asks, strings.HasSuffix(strings.ToLower(bare), "/"+service):
		return &Push{}
	}
	return nil
}

// unescape decodes as often as any chain of servers might.
func unescape(text string) string {
	for range 3 {
		decoded, err := url.PathUnescape(text)
		if err != nil || decoded == text {
			break
		}
		text = decoded
	}
	return text
}

// String is what is asked for, in words of ours: the repository's and the ref's names are the sandbox's, and are left
// out where they are unusual.
func (p *Push) String() string {
	text := "a push"
	switch ref := p.short(); {
	case !plainName(p.Repository):
	case plainName(ref):
		text += fmt.Sprintf(" to %s of %s", ref, p.Repository)
	default:
		text += " to " + p.Repository
	}
	switch {
	case p.Rewrites && p.Workflows:
		text += ", which may rewrite or delete it, and change workflows,"
	case p.Rewrites:
		text += ", which may rewrite or delete it,"
	case p.Workflows:
		text += ", which may change workflows,"
	}
	return text
}

// short is the ref as a rule writes it.
func (p *Push) short() string {
	if branch, ok := strings.CutPrefix(p.Ref, "refs/heads/"); ok && !strings.HasPrefix(branch, "tags/") {
		return branch
	}
	if tag, ok := strings.CutPrefix(p.Ref, "refs/tags/"); ok {
		return "tags/" + tag
	}
	return p.Ref
}

// cure is the part of a command that allows p, "" when there is none that a shell could be given as it stands.
func (p *Push) cure() string {
	if !plainName(p.Repository) {
		return ""
	}
	refs := "'" + p.Repository + ":bailey/**'" // what bailey --branch makes, while no branch is known
	if p.Ref != "" {
		if !plainName(p.short()) {
			return ""
		}
		forced := ""
		if p.Rewrites {
			forced = "+"
		}
		refs = p.Repository + ":" + forced + p.short()
	}
	if p.Workflows {
		refs += " --workflows"
	}
	return "--push " + refs + " "
}

// plainName says whether a name of a repository or a ref can be shown, and given to a shell.
func plainName(s string) bool {
	const longest = 200
	return s != "" && len(s) <= longest && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-", r)
	})
}

// allowsPush says whether r is for pushes such as p. While no ref is known, any of the repository's will do.
func (r *Rule) allowsPush(p *Push) bool {
	if p.Workflows && !r.Workflows || p.Repository == "" {
		return false
	}
	return slices.ContainsFunc(r.Push, func(text string) bool {
		repository, ref, forced := cutPush(text)
		return matchPath(repository, p.Repository) && (p.Ref == "" || matchPath(ref, p.Ref)) && (forced || !p.Rewrites)
	})
}

// cutPush splits REPOSITORY:[+]REF, with the ref's full name.
func cutPush(text string) (repository, ref string, forced bool) {
	repository, ref, _ = strings.Cut(text, ":")
	ref, forced = strings.CutPrefix(ref, "+")
	switch {
	case strings.HasPrefix(ref, "tags/"):
		ref = "refs/" + ref
	case !strings.HasPrefix(ref, "refs/"):
		ref = "refs/heads/" + ref
	}
	return repository, ref, forced
}

// pushes reads what a rule allows to be pushed.
func (e Entry) pushes(r *Rule) error {
	const most = 100
	var errs []error
	switch {
	case len(e.Push) > most:
		return fmt.Errorf("more than %d pushes", most)
	case len(e.Push) == 0 && e.Workflows:
		return errors.New("workflows is about pushes: write push, with the repository and the branch")
	case len(e.Push) > 0 && len(e.Methods)+len(e.Paths) > 0:
		errs = append(errs, errors.New("push, and methods or paths, are both given: write two rules"))
	}
	for _, text := range e.Push {
		repository, ref, _ := cutPush(text)
		if repository == "" || !strings.Contains(text, ":") || strings.HasSuffix(text, ":") || strings.HasSuffix(text, "+") || strings.HasSuffix(repository, ".git") {
			errs = append(errs, fmt.Errorf("%q is not what can be pushed: write REPOSITORY:BRANCH, such as acme/shop:bailey/**", text))
			continue
		}
		errs = append(errs, checkGlob("/"+repository), checkGlob("/"+ref))
	}
	r.Push, r.Workflows = e.Push, e.Workflows
	return errors.Join(errs...)
}
