package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// ProjectFile is the name of a project's own file, at the top of a workspace.
const ProjectFile = "bailey.yaml"

// maxProject bounds it, in bytes.
const maxProject = 64 << 10

// Project is what a workspace says about its own sandboxes. An agent can write it, and so can whoever sends a
// change to the repository: without somebody's trust in that very text it may only tighten.
type Project struct {
	Path      string // of the file
	Hash      string // of its bytes: SHA-256 in hexadecimal digits
	Network   Network
	Workspace Workspace
}

// projectFile is bailey.yaml as it is written.
type projectFile struct {
	Network   networkSection `yaml:"network"`
	Workspace Workspace      `yaml:"workspace"`
}

// ReadProject reads the file at the top of dir, nil when there is none. It follows no link. The error wraps
// sandbox.ErrPolicy: rules that cannot be read might be ones that deny.
func ReadProject(dir string) (*Project, error) {
	path := filepath.Join(dir, ProjectFile)
	text, err := readProject(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: cannot read %s: %w", sandbox.ErrPolicy, path, err)
	}
	p, err := ParseProject(text, filepath.Join(filepath.Base(dir), ProjectFile))
	if err != nil {
		return nil, sandbox.WithHint(fmt.Errorf("%w: cannot use %s:%w", sandbox.ErrPolicy, path, err), "mend the file, or move it away")
	}
	hash := sha256.Sum256(text)
	p.Path, p.Hash = path, hex.EncodeToString(hash[:])
	return &p, nil
}

// ParseProject reads the text of the project's file called name, which touches nothing else. Path and Hash are left
// empty.
func ParseProject(text []byte, name string) (Project, error) {
	var parsed projectFile
	if err := decode(text, maxProject, &parsed); err != nil {
		return Project{}, err
	}
	if d := parsed.Network.Default; d.text == "allow" {
		return Project{}, place(d.at, errors.New("a project cannot have default: allow: write the hosts that it needs"))
	}
	n, err := parsed.Network.network(name)
	if err := errors.Join(err, parsed.Workspace.check()); err != nil {
		return Project{}, joined(err)
	}
	return Project{Network: n, Workspace: parsed.Workspace}, nil
}

// readProject waits for no FIFO's writer, and reads once: what is hashed is what is parsed.
func readProject(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, errors.New("it is a link, and none is followed")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return io.ReadAll(io.LimitReader(f, maxProject+1))
}
