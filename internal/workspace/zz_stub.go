// Package workspace is a placeholder on this branch until branch workspace lands; delete it when merging.
package workspace

import (
	"fmt"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"os"
	"path/filepath"
)

type Roots struct {
	Home string
	Own  []string
}

func Resolve(path string, r Roots) (string, error) {
	p, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	q, err := filepath.EvalSymlinks(p)
	if err != nil {
		return "", sandbox.WithHint(fmt.Errorf("cannot use %q as a workspace: it does not exist", path), "mkdir -p "+path)
	}
	if i, err := os.Stat(q); err == nil && !i.IsDir() {
		return "", fmt.Errorf("cannot use %q as a workspace: not a directory", path)
	}
	return q, nil
}

type Options struct{ Hide, Protect []string }
type Notice struct{ Path, Text string }
type Plan struct {
	Mounts  []sandbox.Mount
	Notices []Notice
}

func MakePlan(ws string, ro bool, o Options) (Plan, error) {
	return Plan{Mounts: []sandbox.Mount{{Kind: sandbox.MountBind, Source: ws, Target: ws, ReadOnly: ro}}}, nil
}
