package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/joho/godotenv"

	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

const (
	projectionsFile = "projections.json"
	// dotenv is the kind of a source that is one variable of a file: "dotenv:/PATH#VARIABLE".
	dotenv = "dotenv"
)

// Projection is a file of variables, usually called .env, that sandboxes see with something that stands for each value.
type Projection struct {
	Path string `json:"path"` // absolute, without links
	// Plain are variables whose values are no secrets, and stand there as they are.
	Plain []string `json:"plain,omitempty"`
}

// Source is where the secret in one of the file's variables is kept.
func (p Projection) Source(variable string) string { return dotenv + ":" + p.Path + "#" + variable }

// Pattern is the file as a path.Match pattern relative to dir, which has it somewhere below.
func (p Projection) Pattern(dir string) (pattern string, ok bool) {
	rel, ok := strings.CutPrefix(p.Path, dir+"/")
	return regexp.MustCompile(`[*?\[\]\\]`).ReplaceAllString(rel, `\$0`), ok
}

// Patterns are those of all that are below dir: whatever becomes of them, what is in them is not shown.
func Patterns(all []Projection, dir string) (patterns []string) {
	for _, p := range all {
		if pattern, ok := p.Pattern(dir); ok {
			patterns = append(patterns, pattern)
		}
	}
	return patterns
}

// Variables are those of the file as it is now, by name. A link on the way to it would be somebody else's choice.
func (p Projection) Variables() (map[string]string, error) {
	if resolved, err := filepath.EvalSymlinks(p.Path); err != nil || resolved != p.Path {
		return nil, errors.Join(fmt.Errorf("%s is not there, or behind a link", p.Path), err)
	}
	text, err := readFile(p.Path)
	if err != nil {
		return nil, err
	}
	return parseDotenv(p.Path, text)
}

func parseDotenv(path, text string) (map[string]string, error) {
	variables, err := godotenv.Unmarshal(text)
	if err != nil {
		return nil, fmt.Errorf("%s is no file of variables", path) // the error would quote it
	}
	for name := range variables {
		if strings.ContainsAny(name, "#\x00\n") || name == "" {
			return nil, fmt.Errorf("%s has a variable without a proper name", path)
		}
	}
	return variables, nil
}

// Render is the file as sandboxes see it. stand returns what stands for the value of a variable.
func (p Projection) Render(variables map[string]string, stand func(variable string) string) ([]byte, error) {
	shown := map[string]string{}
	for name, value := range variables {
		if !slices.Contains(p.Plain, name) {
			value = stand(name)
		}
		shown[name] = value
	}
	text, err := godotenv.Marshal(shown)
	return []byte(text + "\n"), err
}

// prefixOf is how the value of a known kind begins, such as sk_live_: it says what the value is, and is no secret. Programs
// look at it. What is not known may be the beginning of a password, so there it is "".
func prefixOf(value string) string {
	known := []string{"sk_live_", "sk_test_", "pk_live_", "pk_test_", "rk_live_", "rk_test_", "whsec_", "xoxb-", "xoxp-", "xapp-", "hf_", "dop_v1_", "dckr_pat_"}
	for _, s := range credential.Services() {
		known = append(known, s.Shape.Prefix)
	}
	longest := ""
	for _, prefix := range known {
		if len(prefix) > len(longest) && strings.HasPrefix(value, prefix) && len(value) >= len(prefix)+16 {
			longest = prefix
		}
	}
	return longest
}

// dotenvParts are the path and the variable of a source.
func dotenvParts(rest string) (path, variable string, ok bool) {
	i := strings.LastIndexByte(rest, '#')
	if i < 0 || !filepath.IsAbs(rest[:i]) || rest[i+1:] == "" || strings.Contains(rest, "\x00") {
		return "", "", false
	}
	return rest[:i], rest[i+1:], true
}

func readDotenv(rest string) (string, error) {
	path, variable, _ := dotenvParts(rest)
	variables, err := Projection{Path: path}.Variables()
	if err != nil {
		return "", err
	}
	value, ok := variables[variable]
	if !ok {
		return "", fmt.Errorf("%s has no variable %s any more: %w", path, variable, ErrNotFound)
	}
	return checkValue(value)
}

// Projections returns every one.
func (s *Store) Projections() ([]Projection, error) {
	data, err := state.ReadLimited(filepath.Join(s.Dir, projectionsFile), maxVault)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []Projection
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read which files sandboxes see: %w", err)
	}
	return all, nil
}

// Project keeps p, in the place of one of the same path, and a secret for each variable that entries names: an Entry
// without Name, Source and Prefix.
func (s *Store) Project(ctx context.Context, p Projection, entries map[string]Entry) (names []string, err error) {
	variables, err := p.Variables()
	if err != nil {
		return nil, err
	}
	for variable := range entries {
		if _, ok := variables[variable]; !ok {
			return nil, fmt.Errorf("%s has no variable %s", p.Path, variable)
		}
	}
	for _, variable := range p.Plain {
		if _, ok := variables[variable]; !ok {
			return nil, fmt.Errorf("%s has no variable %s", p.Path, variable)
		}
		if _, ok := entries[variable]; ok {
			return nil, fmt.Errorf("the variable %s cannot be both: as it is, and a secret", variable)
		}
	}
	for variable, e := range entries {
		e.Name, e.Source, e.Prefix = nameOf(p.Path, variable), p.Source(variable), prefixOf(variables[variable])
		if there, err := s.Get(e.Name); err == nil && there.Source != e.Source {
			return nil, sandbox.WithHint(fmt.Errorf("the secret %s is another one, from %s", e.Name, there.Source), "bailey secret rm "+e.Name)
		}
		if err := s.Set(ctx, e, ""); err != nil {
			return nil, err
		}
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return names, s.changeProjections(func(all []Projection) []Projection { return append(all, p) }, p.Path)
}

// Unproject forgets the projection of path and its secrets. The error wraps ErrNotFound when there is none.
func (s *Store) Unproject(ctx context.Context, path string) error {
	before, err := s.Projections()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(before, func(p Projection) bool { return p.Path == path }) {
		return fmt.Errorf("%s is not shown in sandboxes: %w", path, ErrNotFound)
	}
	all, err := s.List()
	if err != nil {
		return err
	}
	for _, e := range all {
		if strings.HasPrefix(e.Source, dotenv+":"+path+"#") {
			if err := s.Remove(ctx, e.Name); err != nil {
				return err
			}
		}
	}
	return s.changeProjections(func(all []Projection) []Projection { return all }, path)
}

// changeProjections writes what change makes of all but that of path.
func (s *Store) changeProjections(change func([]Projection) []Projection, path string) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	all, err := s.Projections()
	if err != nil {
		return err
	}
	all = change(slices.DeleteFunc(all, func(p Projection) bool { return p.Path == path }))
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteAtomic(s.Dir, projectionsFile, append(data, '\n'))
}

// nameOf is a secret's: the project's, and the variable's.
func nameOf(path, variable string) string {
	plain := regexp.MustCompile(`[^a-z0-9._-]+`)
	name := plain.ReplaceAllString(strings.ToLower(filepath.Base(filepath.Dir(path))+"."+variable), "-")
	return strings.TrimLeft(name[:min(len(name), 64)], ".-_")
}

// Abs is path as Projection.Path has it.
func Abs(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	abs = filepath.Join(dir, filepath.Base(abs))
	if info, err := os.Lstat(abs); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(fmt.Errorf("%s is no file", abs), err)
	}
	return abs, nil
}
