package gitconfig

import (
	"slices"
	"testing"
)

func TestHarmlessBeyond(t *testing.T) {
	const base = "[core]\n\tbare = false\n\tsshCommand = mine\n[alias] st = !mine\n[filter \"lfs\"]\n\tclean = git-lfs clean\n"
	for name, c := range map[string]struct {
		base, data string
		want       bool
	}{
		"the same":                               {base, base, true},
		"less":                                   {base, "[core]\n\tsshCommand = mine\n", true},
		"a branch more":                          {base, base + "[branch \"x\"]\n\tremote = origin\n", true},
		"a harmless key more in a known section": {base, "[core]\n\tbare = false\n\tabbrev = 7\n\tsshCommand = mine\n", true},
		"a comment more":                         {base, base + "# what\n", true},
		"another command":                        {base, "[core]\n\tsshCommand = evil\n", false},
		"a command in another section":           {base, "[filter \"lfs\"]\n\tsshCommand = mine\n", false},
		"a key more in a section that is not":    {base, base + "\tsmudge = evil\n", false},
		"a key after a section on one line":      {base, "[alias] st = !mine\n\tx = !evil\n", false},
		"a section more":                         {base, base + "[diff \"x\"]\n\ttextconv = evil\n", false},
		"a known key without its section":        {base, "\tsshCommand = mine\n", false},
		"a section spelled otherwise":            {base, "[CORE]\n\tsshCommand = mine\n", false},
		"lines that go on":                       {"[core]\n\tx = a\\\n\tsshCommand = mine\n", "[core]\n\tsshCommand = mine\n", false},
		"nothing was there":                      {"", "[core]\n\tsshCommand = evil\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := HarmlessBeyond([]byte(c.base), []byte(c.data)); got != c.want {
				t.Errorf("got %v for %q", got, c.data)
			}
		})
	}
}

// Whatever is called harmless beyond base has no setting, in Parse's eyes, that is neither base's nor harmless.
func FuzzHarmlessBeyond(f *testing.F) {
	f.Add([]byte("[core]\n\tsshCommand = mine\n"), []byte("[core]\n\tsshCommand = mine\n\tbare = true\n"))
	f.Add([]byte("[alias] st = !x\n"), []byte("[alias] st = !x\n[user]\n\tname = a\n"))
	f.Fuzz(func(t *testing.T, base, data []byte) {
		if !HarmlessBeyond(base, data) {
			return
		}
		of := Parse(base)
		for _, s := range Parse(data) {
			if !slices.Contains(harmless(s.Section), s.Key) && !slices.Contains(of, s) {
				t.Errorf("%+v is in %q, not in %q", s, data, base)
			}
		}
	})
}
