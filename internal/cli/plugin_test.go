package cli

import "testing"

func TestCommandsAreSpelledAsTheUserCallsThem(t *testing.T) {
	a := &app{program: "docker sandbox", verbs: []string{"run", "rm", "docker-plugin"}}
	for text, want := range map[string]string{
		"":                             "",
		"bailey rm -f night":           "docker sandbox rm -f night",
		"  bailey run claude .\n":      "  docker sandbox run claude .\n",
		"rm $(bailey rm)":              "rm $(docker sandbox rm)",
		"bailey --help":                "docker sandbox --help",
		"bailey docker-plugin install": "docker sandbox docker-plugin install",
		"bailey runs agents":           "bailey runs agents",
		"load bailey's profile":        "load bailey's profile",
		"./bailey run, xbailey run":    "./bailey run, xbailey run",
		"bailey bailey run":            "bailey docker sandbox run",
		"bailey ":                      "bailey ",
		"run bailey":                   "run bailey",
	} {
		if got := a.spell(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
		if got := (&app{program: program, verbs: a.verbs}).spell(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}
