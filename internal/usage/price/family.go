package price

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// member is one model of a family: claude-opus-4-5 is 4.5 of claude opus.
type member struct {
	version []int
	model   string
}

// families sorts the models of all layers. A pattern has none.
func families(layers []layer) map[string][]member {
	all := map[string][]member{}
	for _, l := range layers {
		for model := range l.exact {
			if words, version := parts(model); len(version) > 0 {
				family := strings.Join(words, " ")
				all[family] = append(all[family], member{version, model})
			}
		}
	}
	for _, family := range all {
		slices.SortFunc(family, func(a, b member) int {
			return cmp.Or(slices.Compare(a.version, b.version), cmp.Compare(a.model, b.model))
		})
	}
	return all
}

// nearest is the model of the same family whose version is the last before that of name, else the first after it; "" when
// there is no family. Words at the end that nobody knows do not matter: gpt-5.9-codex-nova is taken for a gpt codex.
func (t *Table) nearest(name string) string {
	words, version := parts(name)
	for ; len(words) > 0 && len(version) > 0; words = words[:len(words)-1] {
		family := t.families[strings.Join(words, " ")]
		if len(family) > 0 {
			after, _ := slices.BinarySearchFunc(family, version, func(m member, v []int) int { return slices.Compare(m.version, v) })
			return family[max(after-1, 0)].model
		}
	}
	return ""
}

// parts are the words and the numbers of a model's name: [claude opus] and [4 5], [gpt mini] and [4 1], [o mini] and [4].
func parts(name string) (words []string, version []int) {
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '-' || r == '.' || r == '_' || r == ' ' }) {
		if len(part) > 1 && part[0] == 'o' && digits(part[1:]) {
			words, part = append(words, "o"), part[1:]
		}
		if n, err := strconv.Atoi(part); err == nil && digits(part) {
			version = append(version, n)
		} else {
			words = append(words, part)
		}
	}
	return words, version
}
