// Package config reads the user's config.yaml: strictly, so that a key that looks protective but is
// misspelled is an error, never ignored. It validates and returns values; what they mean is the business of
// the packages that own their types. A project's own file does not exist here yet: it may only tighten.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// maxSize bounds the file, in bytes: it is read at every start.
const maxSize = 1 << 20

// Config is the user's configuration. The zero value is that of a user who has none.
type Config struct {
	Agents []agent.Agent // the user's own, sorted by name
}

// file is config.yaml as it is written.
type file struct {
	Agents map[string]agent.Agent `yaml:"agents"`
}

// Load reads the file at path; a missing one is an empty configuration. All that is wrong with it is
// reported at once, and then nothing of it is used.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return Config{}, fmt.Errorf("cannot read the configuration: %w", err)
	}
	c, err := Parse(text)
	if err != nil {
		return Config{}, sandbox.WithHint(fmt.Errorf("cannot use the configuration: %s:%w", path, err), "mend the file, or move it aside")
	}
	return c, nil
}

// Parse reads the text of a configuration. It touches nothing else. Its errors begin with LINE:COLUMN: where
// they are about one place.
func Parse(text []byte) (Config, error) {
	if len(text) > maxSize {
		return Config{}, fmt.Errorf(" it is larger than %d bytes", maxSize)
	}
	// With aliases, a few lines can stand for more than any memory holds.
	for _, t := range lexer.Tokenize(string(text)) {
		if t.Type == token.AliasType {
			return Config{}, fmt.Errorf("%d:%d: aliases are not allowed", t.Position.Line, t.Position.Column)
		}
	}
	var parsed file
	d := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := d.Decode(&parsed); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, located(err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Config{}, errors.New(" it has more than one document")
	}
	var c Config
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(parsed.Agents)) {
		a := parsed.Agents[name]
		a.Name = name
		if err := a.Check(); err != nil {
			wrong = append(wrong, err.Error())
		}
		c.Agents = append(c.Agents, a)
	}
	if len(wrong) > 0 {
		return Config{}, errors.New(" " + strings.Join(wrong, "; "))
	}
	return c, nil
}

// located makes one line of the library's error, which shows the place as a drawing.
func located(err error) error {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		return fmt.Errorf(" %v", err)
	}
	at := e.GetToken().Position
	return fmt.Errorf("%d:%d: %s", at.Line, at.Column, e.GetMessage())
}
