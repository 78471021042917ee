// Package config reads the user's config.yaml and a project's bailey.yaml: strictly, so that a key that looks
// protective but is misspelled is an error, never ignored. It validates and returns values; what they mean is
// the business of the packages that own their types, and how far a project is believed that of package supervise.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/usage/price"
)

// maxSize bounds the file, in bytes: it is read at every start.
const maxSize = 1 << 20

// Config is the user's configuration. The zero value is that of a user who has none.
type Config struct {
	Agents      []agent.Agent // the user's own, sorted by name
	Network     Network
	Credentials []Bound
	Workspace   Workspace
	Prices      []price.Row // of models, over the built-in ones
	Budget      Budget
}

// Bound is one host more that a secret may be sent to.
type Bound struct {
	Secret string // its name
	credential.Binding
}

// file is config.yaml as it is written.
type file struct {
	Agents      map[string]agent.Agent `yaml:"agents"`
	Network     networkSection         `yaml:"network"`
	Credentials []boundEntry           `yaml:"credentials"`
	Workspace   Workspace              `yaml:"workspace"`
	Prices      []price.Row            `yaml:"prices"`
	Budget      budgetSection          `yaml:"budget"`
}

type boundEntry struct {
	Secret  string `yaml:"secret"`
	Host    string `yaml:"host"` // HOST, HOST:PORT or *.DOMAIN
	As      string `yaml:"as"`   // as credential.ParsePlace reads it
	Foreign bool   `yaml:"foreign"`
}

func (e boundEntry) bound() (Bound, error) {
	if e.Secret == "" || e.Host == "" || e.As == "" {
		return Bound{}, errors.New(" credentials: each says secret, host and as")
	}
	host, port, err1 := credential.ParseHost(e.Host)
	place, err2 := credential.ParsePlace(e.As)
	if err := errors.Join(err1, err2); err != nil {
		return Bound{}, fmt.Errorf(" credentials: %s: %w", e.Secret, err)
	}
	return Bound{e.Secret, credential.Binding{Host: host, Port: port, As: []credential.Place{place}, Foreign: e.Foreign}}, nil
}

// Load reads the file at path; a missing one is an empty configuration. All that is wrong with it is
// reported at once, and then nothing of it is used.
func Load(path string) (Config, error) {
	text, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, nil
	}
	if err != nil {
		return Config{}, err
	}
	c, err := Parse(text)
	if err != nil {
		return Config{}, sandbox.WithHint(fmt.Errorf("cannot use the configuration: %s:%w", path, err), "mend the file, or move it aside")
	}
	return c, nil
}

// LoadNetwork reads what the file at path says about the network: a project's file when it has that name, and else
// one like config.yaml. Somebody has named it, so a missing one is an error.
func LoadNetwork(path string) (Network, error) {
	text, err := read(path)
	if err != nil {
		return Network{}, err
	}
	var n Network
	if name := filepath.Base(path); name == ProjectFile {
		var p Project
		p, err = ParseProject(text, name)
		n = p.Network
	} else {
		var c Config
		c, err = parse(text, name)
		n = c.Network
	}
	if err != nil {
		return Network{}, fmt.Errorf("cannot use the configuration: %s:%w", path, err)
	}
	return n, nil
}

// read returns a file that the user has written, no more of it than shows that it is too large.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return text, nil
}

// Parse reads the text of a configuration. It touches nothing else. Its errors begin with LINE:COLUMN: where
// they are about one place.
func Parse(text []byte) (Config, error) { return parse(text, "config.yaml") }

// parse reads the text of the configuration called name.
func parse(text []byte, name string) (Config, error) {
	var parsed file
	if err := decode(text, maxSize, &parsed); err != nil {
		return Config{}, err
	}
	var c Config
	var errs []error
	for _, agentName := range slices.Sorted(maps.Keys(parsed.Agents)) {
		a := parsed.Agents[agentName]
		a.Name = agentName
		if err := a.Check(); err != nil {
			errs = append(errs, fmt.Errorf(" %w", err))
		}
		c.Agents = append(c.Agents, a)
	}
	var err error
	if c.Network, err = parsed.Network.network(name); err != nil {
		errs = append(errs, err)
	}
	for _, e := range parsed.Credentials {
		b, err := e.bound()
		if err != nil {
			errs = append(errs, err)
		}
		c.Credentials = append(c.Credentials, b)
	}
	c.Workspace, c.Prices = parsed.Workspace, parsed.Prices
	if _, err := (&price.Table{}).With(c.Prices); err != nil {
		errs = append(errs, fmt.Errorf(" prices: %w", err))
	}
	if c.Budget, err = parsed.Budget.budget(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, c.Workspace.check())
	if err := errors.Join(errs...); err != nil {
		return Config{}, joined(err)
	}
	return c, nil
}

// decode reads one document of at most limit bytes into v, whose fields are all that may be in it.
func decode(text []byte, limit int, v any) error {
	if len(text) > limit {
		return fmt.Errorf(" it is larger than %d bytes", limit)
	}
	if err := plain(lexer.Tokenize(string(text))); err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return located(err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New(" it has more than one document")
	}
	return nil
}

// plain refuses what no configuration needs and what harms. With aliases, a few lines can stand for more than any
// memory holds; tags, which say what a value is, are more than the decoder survives; and the time that it takes
// grows with the square of how deep brackets are nested.
func plain(tokens token.Tokens) error {
	const deepest = 16
	brackets, dashes := 0, 0
	for _, t := range tokens {
		if t.Type != token.SequenceEntryType {
			dashes = 0
		}
		switch t.Type {
		case token.AliasType, token.AnchorType, token.MergeKeyType, token.TagType:
			return place(t.Position, errors.New("anchors, tags and aliases are not allowed"))
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType:
			dashes++
		}
		if brackets > deepest || dashes > deepest {
			return place(t.Position, errors.New("it is nested too deeply"))
		}
	}
	return nil
}

// joined makes one line of several errors. Only the first keeps the space before a text without a place.
func joined(err error) error {
	return errors.New(strings.ReplaceAll(strings.ReplaceAll(err.Error(), "\n ", "\n"), "\n", "; "))
}

// located makes one line of the library's error, which shows the place as a drawing.
func located(err error) error {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		return fmt.Errorf(" %s", oneLine(err))
	}
	at := e.GetToken().Position
	return fmt.Errorf("%d:%d: %s", at.Line, at.Column, strings.ReplaceAll(e.GetMessage(), "\n", " "))
}
