package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

// maxRules bounds each list, so that a decision stays quick.
const maxRules = 1000

// Network is what a file says about the network. The zero value says nothing.
type Network struct {
	Default string        // "", "deny", "ask" or "allow": what no rule speaks of
	Rules   []policy.Rule // of its lists and its profiles, in the file's order
}

// networkSection is "network:" as it is written.
type networkSection struct {
	Default  word    `yaml:"default"`
	Allow    []entry `yaml:"allow"`
	Deny     []entry `yaml:"deny"`
	Profiles []word  `yaml:"profiles"`
}

// word is a string that knows its place. Like entry it keeps what is wrong with it, so that all can be told at once.
type word struct {
	text string
	at   *token.Position
	err  error
}

// UnmarshalYAML reads a string.
func (w *word) UnmarshalYAML(node ast.Node) error {
	w.at = node.GetToken().Position
	if node.Type() != ast.StringType {
		w.err = errors.New("a word is wanted")
		return nil
	}
	return yaml.NodeToValue(node, &w.text)
}

// entry is one rule, as a text or as a mapping.
type entry struct {
	text string
	rule policy.Entry
	at   *token.Position
	err  error
}

// UnmarshalYAML reads either.
func (e *entry) UnmarshalYAML(node ast.Node) error {
	e.at = node.GetToken().Position
	switch node := node.(type) {
	case *ast.StringNode:
		e.text = node.Value
	case *ast.MappingNode:
		if len(node.Values) > 0 {
			e.at = node.Values[0].Key.GetToken().Position
		}
		e.err = yaml.NodeToValue(node, &e.rule, yaml.Strict())
	default:
		e.err = errors.New("a rule is HOST[:PORT] or a mapping with host")
	}
	return nil
}

func (e *entry) parse(v policy.Verdict, origin string) (policy.Rule, error) {
	switch {
	case e.err != nil:
		return policy.Rule{}, e.err
	case e.text != "":
		return policy.ParseText(e.text, v, origin)
	}
	return e.rule.Rule(v, origin)
}

// network turns the section of the file called name into rules. The error has a line for each thing that is wrong.
func (s *networkSection) network(name string) (Network, error) {
	n := Network{Default: s.Default.text}
	var errs []error
	switch {
	case s.Default.err != nil:
		errs = append(errs, place(s.Default.at, s.Default.err))
	case n.Default != "" && n.Default != policy.ParseVerdict(n.Default).String():
		errs = append(errs, place(s.Default.at, fmt.Errorf("unknown default %q: write deny, ask or allow", n.Default)))
	}
	for _, list := range []struct {
		verdict policy.Verdict
		entries []entry
	}{{policy.Allow, s.Allow}, {policy.Deny, s.Deny}} {
		if len(list.entries) > maxRules {
			errs = append(errs, place(list.entries[maxRules].at, fmt.Errorf("more than %d rules", maxRules)))
			continue
		}
		for i := range list.entries {
			e := &list.entries[i]
			r, err := e.parse(list.verdict, origin(name, e.at))
			if err != nil {
				errs = append(errs, place(e.at, err))
			}
			n.Rules = append(n.Rules, r)
		}
	}
	for _, p := range s.Profiles {
		if p.err != nil {
			errs = append(errs, place(p.at, p.err))
			continue
		}
		rules, err := policy.Profile(p.text, origin(name, p.at))
		if err != nil {
			errs = append(errs, place(p.at, err))
		}
		n.Rules = append(n.Rules, rules...)
	}
	if err := errors.Join(errs...); err != nil {
		return Network{}, err
	}
	return n, nil
}

func origin(name string, at *token.Position) string { return fmt.Sprintf("%s:%d", name, line(at)) }

func line(at *token.Position) int {
	if at == nil {
		return 0
	}
	return at.Line
}

// place puts LINE:COLUMN: before err, unless it knows a better place itself.
func place(at *token.Position, err error) error {
	var known yaml.Error
	if errors.As(err, &known) {
		err = located(err)
		if known.GetToken() != nil {
			return err
		}
	}
	if at == nil {
		return fmt.Errorf(" %s", oneLine(err))
	}
	return fmt.Errorf("%d:%d: %s", at.Line, at.Column, oneLine(err))
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", " ") }
