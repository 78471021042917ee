package bailey

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/bailey-sandbox/bailey/"

// tiers are the layers of the design, the top first: a package imports only what stands below its tier, or
// beside it where beside says so. A package that is in none fails the test: give it its place here.
func tiers() [][]string {
	return [][]string{
		{"cmd/bailey"},
		{"internal/cli"},
		{"internal/supervise", "internal/backend/all"},
		{"internal/api", "internal/secret", "internal/config", "internal/dockerplugin", "internal/snapshot"},
		{"internal/review"},
		{"internal/picker", "internal/risk"},
		{"internal/backend/namespace", "internal/backend/fake"},
		{"internal/egress", "internal/oauth", "internal/learn", "internal/agent", "internal/image", "internal/workspace", "internal/state", "internal/guest"},
		{"internal/egress/framing", "internal/egress/sniff", "internal/credential", "internal/certs", "internal/guestproto", "internal/audit", "internal/policy", "internal/cgroup", "internal/seccomp", "internal/gitconfig", "internal/gateway/relay", "internal/apply", "internal/usage/budget", "internal/usage/meter", "internal/usage/price", "internal/usage/history", "internal/usage/report"},
		{"internal/sandbox", "internal/hostname", "internal/vt", "internal/leaks", "internal/changes", "internal/patch", "internal/gitcommit", "internal/gitpush", "internal/usage/ledger"},
		{"internal/gateway", "internal/failpoint", "internal/beneath", "internal/usage", "internal/flock"},
	}
}

// source is one Go file of the project.
type source struct {
	dir  string // slash-separated, relative to the root
	name string
	file *ast.File
	fset *token.FileSet
}

func (s source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

// imports are the file's imports of ours, without the module's path.
func (s source) imports() []string {
	var own []string
	for _, i := range s.file.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		if rest, ok := strings.CutPrefix(path, module); ok {
			own = append(own, rest)
		}
	}
	return own
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || len(d.Name()) > 1 && d.Name()[0] == '.') {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{filepath.ToSlash(filepath.Dir(path)), d.Name(), f, fset})
		return nil
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("cannot read the sources: %d files, %v", len(all), err)
	}
	return all
}

func tierOf(pkg string) int {
	return slices.IndexFunc(tiers(), func(tier []string) bool { return slices.Contains(tier, pkg) })
}

// forTests says whether a package exists for tests only; those may import what they like.
func forTests(dir string) bool {
	return dir == "." || strings.HasPrefix(dir, "test/") || strings.HasPrefix(dir, "bench") ||
		strings.HasSuffix(dir, "test") && strings.HasPrefix(dir, "internal/")
}

func TestImportsGoDownTheTiersOnly(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || forTests(s.dir) {
			continue
		}
		mine := tierOf(s.dir)
		if mine < 0 {
			t.Errorf("%s is in no tier: give it its place in deps_test.go", s.dir)
			continue
		}
		for _, imported := range s.imports() {
			if tierOf(imported) <= mine {
				t.Errorf("%s/%s imports %s, which is not below it: what both need belongs into a lower package, or behind an interface",
					s.dir, s.name, imported)
			}
		}
	}
}

func TestConcreteBackendsAreImportedInOnePlace(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range s.imports() {
			kind, ok := strings.CutPrefix(imported, "internal/backend/")
			if !ok || kind == "all" || s.dir == "internal/backend/all" && !s.test() || s.test() || forTests(s.dir) {
				continue
			}
			t.Errorf("%s/%s imports the backend %s: differences between backends are data in Capabilities; only internal/backend/all lists them",
				s.dir, s.name, kind)
		}
	}
}

func TestPolicyIsPure(t *testing.T) {
	forbidden := []string{"net", "net/http", "os", "os/exec", "syscall", "io/ioutil"}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		leaf := map[string][]string{
			"internal/policy":   {"internal/hostname"},
			"internal/hostname": {},
			"internal/audit":    {"internal/hostname"},
			"internal/gateway":  {},
			"internal/vt":       {},
			"internal/patch":    {},
			"internal/changes":  {"internal/beneath"},
			"internal/learn":    {"internal/audit", "internal/policy", "internal/hostname"},
		}
		allowed, isLeaf := leaf[s.dir]
		for _, imported := range s.imports() {
			if isLeaf && !slices.Contains(allowed, imported) {
				t.Errorf("%s/%s imports %s: a leaf that everything rests on must not", s.dir, s.name, imported)
			}
		}
		if s.dir != "internal/policy" && s.dir != "internal/hostname" {
			continue
		}
		for _, i := range s.file.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); slices.Contains(forbidden, path) {
				t.Errorf("%s/%s imports %s: a decision is pure, so that it can be tested and explained", s.dir, s.name, path)
			}
		}
	}
}

func TestEveryPackageSaysOnceWhatItIs(t *testing.T) {
	said := map[string][]string{}
	for _, s := range sources(t) {
		if s.dir == "." {
			continue
		}
		if _, ok := said[s.dir]; !ok {
			said[s.dir] = nil
		}
		// Where a package exists for one system only, the file for the others says so instead.
		name := strings.Replace(s.name, "_other.go", "_linux.go", 1)
		if s.file.Doc != nil && !slices.Contains(said[s.dir], name) {
			said[s.dir] = append(said[s.dir], name)
		}
	}
	for dir, files := range said {
		if len(files) != 1 {
			t.Errorf("%s has package comments in %v: one file says what lives there and what may not", dir, files)
		}
	}
}

func TestNoInitAndNoPackageVariables(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s/%s has an init function: register by hand, in one place", s.dir, s.name)
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					checkVariables(t, s, d)
				}
			}
		}
	}
}

// checkVariables lets sentinels, embedded files and interface checks pass.
func checkVariables(t *testing.T, s source, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		embeds := func(c *ast.CommentGroup) bool {
			return c != nil && slices.ContainsFunc(c.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
		}
		if v.Names[0].Name == "_" || embeds(d.Doc) || embeds(v.Doc) {
			continue
		}
		sentinel := len(v.Values) == len(v.Names)
		for _, value := range v.Values {
			call, ok := value.(*ast.CallExpr)
			if !ok {
				sentinel = false
				continue
			}
			fun, ok := call.Fun.(*ast.SelectorExpr)
			sentinel = sentinel && ok && fun.Sel.Name == "New" && isIdent(fun.X, "errors")
		}
		if !sentinel {
			t.Errorf("%s: the variable %s: state belongs to a value that somebody owns, and tables are functions",
				s.fset.Position(v.Pos()), v.Names[0].Name)
		}
	}
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// TestLintMirrorsTheTiers keeps the linter's copy of the most important rule from going stale.
func TestLintMirrorsTheTiers(t *testing.T) {
	lint, err := os.ReadFile(".golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"internal/backend/namespace", "internal/backend/fake", "internal/cli", "internal/supervise"} {
		if !strings.Contains(string(lint), module+pkg) {
			t.Errorf(".golangci.yml has no depguard rule about %s", pkg)
		}
	}
}
