package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// CarryIn lists the user's own instructions for the agent in hostHome that exist, as read-only mounts at
// the same paths: texts, skills, commands. Never settings, hooks, plugins, sessions or credentials: a link
// among them is followed only to another of them, so none can pull in something else.
func (a Agent) CarryIn(hostHome string) []sandbox.Mount {
	var mounts []sandbox.Mount
	for _, rel := range a.carry {
		target := filepath.Join(hostHome, rel)
		// The directory itself may be a link: people keep it elsewhere.
		parent, err := filepath.EvalSymlinks(filepath.Dir(target))
		if err != nil {
			continue
		}
		source, err := filepath.EvalSymlinks(filepath.Join(parent, filepath.Base(target)))
		if err != nil {
			continue
		}
		inside, err := filepath.Rel(parent, source)
		first, _, _ := strings.Cut(inside, "/")
		if err != nil || !slices.Contains(a.carry, filepath.Join(filepath.Dir(rel), first)) {
			continue
		}
		info, err := os.Lstat(source)
		if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
			continue
		}
		mounts = append(mounts, sandbox.Mount{Kind: sandbox.MountBind, Source: source, Target: target, ReadOnly: true})
	}
	return mounts
}
