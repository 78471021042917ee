// Package history reads the logs that agents keep themselves, of what was done outside of bailey: what each call of a
// model used, and never what was said in it. It knows no price and keeps no record. Logs are written by agents and
// whatever agents have run, so nothing in them is believed: not their size, not their links, not their numbers.
package history

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// Unpriced is the Unpriced of calls whose log does not say what they cost. Whoever knows prices takes it away; where the
// log says it, Cost has it and Unpriced is empty.
const Unpriced = "the log does not say what it cost"

const (
	maxLine     = 16 << 20 // bytes; there are answers of some megabytes
	maxDocument = 64 << 20 // bytes, of a log that is one document
	maxTokens   = 1e10     // of one kind in one call; the sum of all calls that fit into memory does not run over
	maxName     = 512      // bytes, of an identifier or a model
)

// Skipped counts what was not read.
type Skipped struct {
	Files      int      // that cannot be read, are no files, or are larger than 64 MiB and one document
	Lines      int      // that speak of usage but are not what the agent writes
	Long       int      // lines of more than 16 MiB
	Duplicates int      // calls that were logged again
	Notes      []string // what else there is that cannot be read, in words
}

func (s *Skipped) add(o Skipped) {
	s.Files, s.Lines, s.Long, s.Duplicates = s.Files+o.Files, s.Lines+o.Lines, s.Long+o.Long, s.Duplicates+o.Duplicates
	s.Notes = append(s.Notes, o.Notes...)
}

// Source is where one agent keeps its logs.
type Source struct {
	Agent string
	Dirs  []string // each is there
}

// Read yields every call that the agent has logged there, in no particular order, until yield returns false.
func (s Source) Read(yield func(usage.Call) bool) (Skipped, error) {
	switch s.Agent {
	case "claude":
		return Claude(s.Dirs, yield)
	case "codex":
		return Codex(s.Dirs, yield)
	case "opencode":
		return OpenCode(s.Dirs, yield)
	case "gemini":
		return Gemini(s.Dirs, yield)
	}
	return Skipped{}, fmt.Errorf("the logs of %q cannot be read", s.Agent)
}

// Find looks where each agent keeps its logs unless the environment says otherwise, and tells of those that are there.
func Find(getenv func(string) string, home string) []Source {
	or := func(key string, otherwise ...string) []string {
		if value := getenv(key); value != "" {
			return strings.Split(value, ",")
		}
		return otherwise
	}
	config := or("XDG_CONFIG_HOME", filepath.Join(home, ".config"))[0]
	var found []Source
	look := func(agent string, dirs []string, below ...string) {
		s := Source{Agent: agent}
		for _, dir := range dirs {
			dir = absolute(strings.TrimSpace(dir), home)
			for _, sub := range below {
				// Claude Code's variable may name the directory of the projects itself.
				if path := filepath.Join(dir, sub); isDir(path) {
					s.Dirs = append(s.Dirs, path)
				} else if sub == "projects" && filepath.Base(dir) == sub && isDir(dir) {
					s.Dirs = append(s.Dirs, dir)
				}
			}
		}
		if s.Dirs != nil {
			found = append(found, s)
		}
	}
	look("claude", or("CLAUDE_CONFIG_DIR", filepath.Join(config, "claude"), filepath.Join(home, ".claude")), "projects")
	look("codex", or("CODEX_HOME", filepath.Join(home, ".codex")), "sessions", "archived_sessions")
	look("opencode", or("OPENCODE_DATA_DIR", filepath.Join(or("XDG_DATA_HOME", filepath.Join(home, ".local/share"))[0], "opencode")), ".")
	look("gemini", or("GEMINI_DATA_DIR", filepath.Join(home, ".gemini/tmp")), ".")
	return found
}

// absolute is the path dir, in which ~ is the home. An empty one, from a comma too many, is nowhere.
func absolute(dir, home string) string {
	if rest, ok := strings.CutPrefix(dir, "~"); ok && (rest == "" || rest[0] == '/') {
		return filepath.Join(home, rest)
	}
	if dir == "" {
		return os.DevNull
	}
	return dir
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
