package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// installed returns a version that is in the cache.
func (s Store) installed(a Agent, version string) (Installed, error) {
	if !versionName(version) {
		return Installed{}, fs.ErrNotExist
	}
	dir := s.programDir(a, version)
	bin, err := a.program(s.Platform, dir)
	if err != nil {
		return Installed{}, err
	}
	first, err := head(bin, 128)
	line, _, _ := bytes.Cut(first, []byte("\n"))
	return Installed{Version: version, Dir: dir, Bin: bin,
		Node: bytes.HasPrefix(line, []byte("#!")) && bytes.Contains(line, []byte("node"))}, err
}

// program returns the path of the agent's program in the unpacked package dir.
func (a Agent) program(p Platform, dir string) (string, error) {
	var bin string
	if len(a.Native) > 0 {
		n, err := a.native(p)
		if err != nil {
			return "", err
		}
		bin = n.Bin
	} else {
		data, err := head(filepath.Join(dir, "package.json"), 1<<20)
		if err != nil {
			return "", err
		}
		if bin = binOf(data, a.Argv[0]); bin == "" {
			return "", fmt.Errorf("package %s has no program %q", a.Package, a.Argv[0])
		}
	}
	bin = filepath.Join(dir, bin)
	if info, err := os.Lstat(bin); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("the program in package %s is no file", a.Package)
	}
	return bin, nil
}

// binOf reads the path of the program called name from a package.json, "" when it has none such.
func binOf(packageJSON []byte, name string) string {
	var p struct{ Bin any }
	if json.Unmarshal(packageJSON, &p) != nil {
		return ""
	}
	bin, _ := p.Bin.(string)
	if byName, ok := p.Bin.(map[string]any); ok {
		bin, _ = byName[name].(string)
	}
	if bin == "" || !filepath.IsLocal(bin) {
		return ""
	}
	return bin
}

func head(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}

func (s Store) packageDir(a Agent) string { return filepath.Join(s.Dir, fileName(a.Package)) }

func (s Store) programDir(a Agent, version string) string {
	pkg := a.Package
	if n, err := a.native(s.Platform); err == nil {
		pkg = n.Package
	}
	return filepath.Join(s.packageDir(a), version, fileName(pkg))
}

func fileName(pkg string) string { return strings.ReplaceAll(pkg, "/", "+") }

// NeedsNode is the error for an agent whose program needs node where there is none.
func NeedsNode(a Agent) error {
	return sandbox.WithHint(fmt.Errorf("%s is a node program, and the sandbox has no node: %w", a.Name, sandbox.ErrUnsupported),
		"install node (20 or newer) where the sandbox takes its programs from")
}
