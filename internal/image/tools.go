package image

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// tools collects what of the user's own programs is visible inside.
type tools struct {
	in     HostInput
	t      tree
	shown  []string // visible directories: lowers, binds and the mounts below
	jdks   []string // globs of what version managers keep
	mounts []sandbox.Mount
	env    []string
}

// userTools finds the version managers that PATH names and returns their mounts, and the environment. The keystore,
// if any, is a file on the host with what Java programs trust.
func userTools(in HostInput, t tree, root sandbox.Root, keystore string) ([]sandbox.Mount, []string) {
	w := &tools{in: in, t: t}
	for _, l := range root.Lowers {
		w.shown = append(w.shown, l.Target)
	}
	for _, l := range root.Links {
		w.shown = append(w.shown, l.Target)
	}
	for _, b := range root.Binds {
		w.shown = append(w.shown, b.Target)
	}
	u := in.User
	w.env = []string{"HOME=" + u.Home, "USER=" + u.Name, "LOGNAME=" + u.Name, "SHELL=" + u.Shell,
		// Wherever the host's node came from, its own prefix is read-only or not the user's.
		"NPM_CONFIG_PREFIX=/usr/local"}

	entries := filepath.SplitList(in.Getenv("PATH"))
	for _, m := range managers() {
		w.addManager(m, entries)
	}
	if keystore != "" {
		w.ownKeystores(keystore)
	}
	w.env = append(w.env, "PATH="+strings.Join(w.path(entries), ":"))
	for _, name := range []string{"JAVA_HOME", "GOROOT", "GRADLE_HOME", "MAVEN_HOME", "DOTNET_ROOT", "HOMEBREW_PREFIX", "HOMEBREW_CELLAR", "HOMEBREW_REPOSITORY"} {
		if dir := in.Getenv(name); w.visible(dir) {
			w.env = append(w.env, name+"="+dir)
		}
	}
	w.env = append(w.env, locale(in, t)...)
	return w.mounts, w.env
}

// addManager shows m if one of PATH's entries, or what it is a link to, lies in its root.
func (w *tools) addManager(m manager, entries []string) {
	root := w.root(m.root, m.variable)
	resolvedRoot, err := w.t.resolve(root)
	if err != nil || !slices.ContainsFunc(entries, func(e string) bool {
		resolved, err := w.t.resolve(e)
		return filepath.IsAbs(e) && err == nil && within(resolved, resolvedRoot)
	}) {
		return
	}
	if !w.show(root, m.show) {
		return
	}
	for _, pattern := range m.hide {
		for _, path := range w.t.glob(filepath.Join(root, pattern)) {
			// A link that leads out of what is shown leads nowhere inside.
			if dir, err := w.t.resolve(filepath.Dir(path)); err == nil && within(dir, resolvedRoot) {
				hidden := filepath.Join(root, strings.TrimPrefix(dir, resolvedRoot), filepath.Base(path))
				w.mounts = append(w.mounts, sandbox.Mount{Kind: sandbox.MountHidden, Target: hidden})
			}
		}
	}
	for _, pattern := range m.jdks {
		w.jdks = append(w.jdks, filepath.Join(root, pattern))
	}
	w.env = append(w.env, m.env...)
	w.passOn(m.variable, root)
	for _, c := range companions() {
		dir := w.root(c.root, c.variable)
		if c.of == m.root && w.show(dir, c.show) {
			w.passOn(c.variable, dir)
		}
	}
}

// root is where a manager lives: where its variable says, if that is a place in the home directory.
func (w *tools) root(dir, variable string) string {
	if variable != "" {
		if set := filepath.Clean(w.in.Getenv(variable)); within(set, w.in.HostHome) && set != w.in.HostHome {
			return set
		}
	}
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(w.in.HostHome, dir)
}

// passOn tells the inside where a manager is, if the user's environment says anything about it.
func (w *tools) passOn(variable, dir string) {
	if variable != "" && w.in.Getenv(variable) != "" {
		w.env = append(w.env, variable+"="+dir)
	}
}

// show binds what matches the patterns below root, and reports whether there was anything.
func (w *tools) show(root string, patterns []string) bool {
	any := false
	for _, pattern := range patterns {
		for _, path := range w.t.glob(filepath.Join(root, pattern)) {
			if _, err := w.t.stat(path); err != nil || path == w.in.HostHome {
				continue // a dangling link
			}
			w.mounts = append(w.mounts, sandbox.Mount{Kind: sandbox.MountBind, Source: w.t.real(path), Target: path, ReadOnly: true})
			w.shown = append(w.shown, path)
			any = true
		}
	}
	return any
}

// path is PATH inside: the user's entries in their order as far as they can be seen, resolved where only
// the link itself cannot (fnm's are in /run), then the standard ones that are missing.
func (w *tools) path(entries []string) []string {
	var path []string
	add := func(dir string) {
		if !slices.Contains(path, dir) {
			path = append(path, dir)
		}
	}
	for _, e := range entries {
		e = filepath.Clean(e)
		if w.visible(e) {
			add(e)
		} else if resolved, err := w.t.resolve(e); err == nil && filepath.IsAbs(e) && w.visible(resolved) {
			add(resolved)
		}
	}
	for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin"} {
		add(dir)
	}
	return path
}

// visible reports whether dir is a directory that the sandbox sees.
func (w *tools) visible(dir string) bool {
	return filepath.IsAbs(dir) && w.t.isDir(dir) &&
		slices.ContainsFunc(w.shown, func(shown string) bool { return within(dir, shown) })
}

// locale is the user's locale where it is a UTF-8 one that the host has, else C.UTF-8, and the time zone.
func locale(in HostInput, t tree) []string {
	usable := func(name string) bool {
		base, charset, _ := strings.Cut(strings.ToLower(name), ".")
		charset, _, _ = strings.Cut(charset, "@")
		if charset != "utf-8" && charset != "utf8" || !plainWord(name) {
			return false
		}
		if base == "c" {
			return true
		}
		_, archiveErr := t.stat("/usr/lib/locale/locale-archive")
		_, dirErr := t.stat("/usr/lib/locale/" + name[:len(base)] + ".utf8")
		return archiveErr == nil || dirErr == nil
	}
	lang := in.Getenv("LANG")
	if !usable(lang) {
		lang = "C.UTF-8"
	}
	env := []string{"LANG=" + lang}
	if all := in.Getenv("LC_ALL"); usable(all) {
		env = append(env, "LC_ALL="+all)
	}
	if tz := in.Getenv("TZ"); plainWord(strings.ReplaceAll(tz, "/", "")) && !strings.HasPrefix(tz, "/") && !strings.Contains(tz, "..") {
		env = append(env, "TZ="+tz)
	}
	return env
}

// plainWord reports whether s is made of what locale and time zone names are made of.
func plainWord(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@+-") == ""
}
