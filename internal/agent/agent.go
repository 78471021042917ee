// Package agent knows the coding agents: what each one needs, as data (Agent, Builtin), how its program is
// fetched from the npm registry into a shared cache without node or npm (Store), which first-run questions
// are answered for it in the sandbox's own home (Seed), and which of the user's instructions it may read
// (CarryIn). It starts no agent, mounts nothing and decides no policy; the hosts that it lists become rules
// elsewhere. What comes from a registry or from a sandbox's home is hostile input here.
package agent

import (
	"fmt"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Agent is what one agent needs. It is plain data; a user-defined one is read from YAML, its Name being the
// key, and must pass Check before use.
type Agent struct {
	Name  string `yaml:"-"`
	Title string `yaml:"title"` // for people; "" is Name
	// Package is the npm package that holds the program. Without one, Argv[0] is a program that the
	// sandbox already has.
	Package string `yaml:"package"`
	// Native lists the packages that hold a native program, by platform, best first. Without any, the
	// program is what Package's own "bin" names.
	Native []Native `yaml:"native"`
	// Argv is the program and the flags that let it work without asking; the user's arguments follow.
	Argv []string `yaml:"command"`
	// Env is its fixed environment, such as what turns off updates that could not be installed anyway.
	Env map[string]string `yaml:"env"`
	// Keys names the environment variables in which it takes a model key, likeliest first.
	Keys []string `yaml:"keys"`
	// Hosts is what it must reach to work. Anything else is for the user to allow.
	Hosts []Host `yaml:"hosts"`

	carry []string               // paths below the user's home, see CarryIn
	seeds func(SeedInput) []seed // files in the sandbox's home, see Seed
}

// Host is one place that an agent must reach.
type Host struct {
	Name string `yaml:"host"`
	Port uint16 `yaml:"port"`
	Why  string `yaml:"why"` // a phrase that is shown beside the rule
	// Model says that the agent sends its conversation there, in which it quotes whatever it has read.
	Model bool `yaml:"model"`
}

// Native is a package with a program for one platform. Empty conditions hold everywhere.
type Native struct {
	Arch    string `yaml:"arch"`    // GOARCH
	Libc    string `yaml:"libc"`    // "glibc", "musl"
	AVX2    bool   `yaml:"avx2"`    // the program needs it
	Package string `yaml:"package"` // as the main package's optionalDependencies name it
	Bin     string `yaml:"bin"`     // the program's path in the package
}

// Find returns the agent called name among the built-in ones and custom.
func Find(name string, custom []Agent) (Agent, error) {
	var known []string
	for _, a := range append(Builtin(), custom...) {
		if a.Name == name {
			return a, nil
		}
		known = append(known, a.Name)
	}
	list := strings.Join(known, ", ")
	return Agent{}, sandbox.WithHint(fmt.Errorf("unknown agent %q; known are %s", name, list),
		"bailey run "+known[0]+" .")
}

// Command is what to execute: the program bin with the agent's flags, then args. With bin "" the program is
// the agent's own word for it, looked up in the sandbox.
func (a Agent) Command(bin string, args []string) []string {
	if bin == "" {
		bin = a.Argv[0]
	}
	return append(append([]string{bin}, a.Argv[1:]...), args...)
}
