// Package image says what a sandbox's root file system is made of. So far that is the host's own: its
// programs read-only below an overlay, copies of an allow-list of its /etc, and synthesised files where the
// host's would tell who lives there. It only reads the host and returns data; mounting is a backend's job,
// and what belongs to a project is package workspace's. Nothing may get in here that is not on a list:
// a directory that nobody thought of stays outside.
package image

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// HostInput is what Host has to know.
type HostInput struct {
	User      sandbox.User
	Hostname  string // inside; never the host's own
	MachineID string // 32 hexadecimal digits, random for each sandbox
	Network   sandbox.Network
	ReadOnly  bool
	Authority []byte // a certificate in PEM that the sandbox trusts beside the host's; nil for none
	Logins    []Login

	HostHome string              // the user's home directory on the host, absolute
	Getenv   func(string) string // the user's environment: PATH, LANG, TZ and where version managers live
	Tree     string              // where the host's root directory is seen; "" means "/"
	Cache    string              // a directory of bailey's own, for copies of the host's configuration
}

// Host describes the host's root file system as seen by in.User. The mounts are read-only binds of version
// managers at their own paths; they lie below the home directory, so they come after whatever the caller
// mounts there. The environment (KEY=VALUE) has what depends on the host and the user: PATH, locale, time
// zone, HOME and the like. Host writes to Cache only, and follows the host's links with Tree as root.
func Host(in HostInput) (sandbox.Root, []sandbox.Mount, []string, error) {
	if err := in.check(); err != nil {
		return sandbox.Root{}, nil, nil, fmt.Errorf("cannot use the host as root file system: %w", err)
	}
	t := tree(in.Tree)
	root := sandbox.Root{ReadOnly: in.ReadOnly}
	if !t.isDir("/usr/bin") {
		return root, nil, nil, sandbox.WithHint(fmt.Errorf("cannot use the host as root file system: it has no /usr/bin"),
			"choose a root file system with --template")
	}
	for _, dir := range programDirs() {
		addTree(&root, t, dir)
	}
	for _, dir := range varDirs() {
		addTree(&root, t, dir)
	}
	copies, bundle, err := snapshot(t, in.Cache, in.Authority)
	if err != nil {
		return root, nil, nil, fmt.Errorf("cannot copy the host's configuration: %w", err)
	}
	root.Layers = []string{copies}
	if t.isDir("/nix/store") {
		root.Binds = append(root.Binds, sandbox.Mount{Kind: sandbox.MountBind, Source: t.real("/nix/store"), Target: "/nix/store", ReadOnly: true})
	}
	root.Files = append(root.Files, synthesised(in)...)
	root.Files = append(root.Files, gitSettings(t, in)...)
	npmrc, npmEnv := npmLogins(in.Logins)
	root.Files = append(root.Files, npmrc...)
	root.Links = append(root.Links,
		sandbox.Symlink{Target: "/etc/mtab", Text: "/proc/self/mounts"},
		sandbox.Symlink{Target: "/var/run", Text: "/run"},
		sandbox.Symlink{Target: "/var/lock", Text: "/run/lock"})
	root.Dirs = dirs(in.User)

	keystore := ""
	if len(in.Authority) > 0 {
		keystore = filepath.Join(copies, keystoreFile)
	}
	mounts, env := userTools(in, t, root, keystore)
	if len(in.Authority) > 0 {
		env = append(env, trustEnv(bundle)...)
	}
	env = append(env, npmEnv...)
	for _, file := range blankable() {
		if content, err := t.readPublic(file); err == nil && holdsSecret(content) {
			mounts = append(mounts, sandbox.Mount{Kind: sandbox.MountHidden, Target: file})
		}
	}
	// It names groups of the host's that the sandbox does not have, and dpkg then refuses to do anything.
	if info, err := t.stat(statOverride); err == nil && info.Size() > 0 {
		mounts = append(mounts, sandbox.Mount{Kind: sandbox.MountHidden, Target: statOverride})
	}
	return root, mounts, env, nil
}

// statOverride lists files whose owner dpkg keeps as the administrator set it (dpkg-statoverride(1)).
const statOverride = "/var/lib/dpkg/statoverride"

// check refuses what would break the format of a synthesised file.
func (in HostInput) check() error {
	u := in.User
	switch {
	case u.UID <= 0 || u.GID <= 0:
		return fmt.Errorf("the sandbox's user has id %d:%d, root is not allowed", u.UID, u.GID)
	case u.Name == "" || strings.Trim(u.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" || u.Name[0] == '-':
		return fmt.Errorf("%q is no user name", u.Name)
	case len(in.MachineID) != 32 || strings.Trim(in.MachineID, "0123456789abcdef") != "":
		return fmt.Errorf("%q is no machine id", in.MachineID)
	}
	if err := sandbox.CheckName(in.Hostname); err != nil {
		return fmt.Errorf("%q is no host name", in.Hostname)
	}
	for _, p := range []string{u.Home, u.Shell, in.HostHome} {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p || strings.ContainsAny(p, ":\n\r\x00") {
			return fmt.Errorf("%q is not an absolute, clean path without colons", p)
		}
	}
	return nil
}

// programDirs are the directories with the host's programs, as far as they exist.
func programDirs() []string {
	return []string{"/usr", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}
}

// dirs are the sandbox's own directories. The user owns /usr/local, so that npm i -g, pip and make install
// work without root; what the host has there shows through.
func dirs(u sandbox.User) []sandbox.Dir {
	all := []sandbox.Dir{
		{Target: "/tmp", Mode: 0o1777}, {Target: "/var/tmp", Mode: 0o1777},
		{Target: "/run", Mode: 0o755}, {Target: "/run/lock", Mode: 0o1777},
		{Target: "/run/user", Mode: 0o755}, {Target: fmt.Sprintf("/run/user/%d", u.UID), Mode: 0o700, Own: true},
		{Target: "/var/cache", Mode: 0o755}, {Target: "/var/lib", Mode: 0o755}, {Target: "/var/log", Mode: 0o755},
		{Target: "/home", Mode: 0o755}, {Target: "/root", Mode: 0o755},
		{Target: "/srv", Mode: 0o755}, {Target: "/mnt", Mode: 0o755}, {Target: "/media", Mode: 0o755},
	}
	for _, sub := range []string{"", "/bin", "/etc", "/include", "/lib", "/lib/node_modules", "/sbin", "/share", "/share/man", "/src"} {
		all = append(all, sandbox.Dir{Target: "/usr/local" + sub, Mode: 0o755, Own: true})
	}
	return all
}

// addTree shows the directory dir: as a link where the host has a link to something shown anyway.
func addTree(root *sandbox.Root, t tree, dir string) {
	if !t.isDir(dir) || !t.public(dir) {
		return
	}
	if text, ok := t.linkInside(dir); ok {
		root.Links = append(root.Links, sandbox.Symlink{Target: dir, Text: text})
		return
	}
	root.Lowers = append(root.Lowers, sandbox.Lower{Source: t.real(dir), Target: dir})
}
