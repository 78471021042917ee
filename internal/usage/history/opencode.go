package history

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// OpenCode reads the messages of OpenCode, one a file: storage/message/**/*.json. Newer versions keep them in opencode.db,
// an SQLite database, which is not read; a note says so.
func OpenCode(dirs []string, yield func(usage.Call) bool) (Skipped, error) {
	var messages []string // beside them lie snapshots of whole projects
	for _, dir := range dirs {
		if m := filepath.Join(dir, "storage/message"); isDir(m) {
			messages = append(messages, m)
		}
	}
	roots, files, skipped, err := list(messages, func(p string) bool { return path.Ext(p) == ".json" })
	defer closeAll(roots)
	if err != nil {
		return skipped, err
	}
	for _, dir := range dirs {
		if found, _ := filepath.Glob(filepath.Join(escape(dir), "opencode*.db")); len(found) > 0 {
			skipped.Notes = append(skipped.Notes, filepath.Join(dir, filepath.Base(found[0]))+" is a database of SQLite, which is not read: calls of newer versions of OpenCode are missing")
		}
	}
	type outcome struct {
		call    usage.Call
		is      bool
		skipped Skipped
	}
	seen := map[string]bool{}
	inOrder(files, func(f file, _ *[]byte) (o outcome) {
		text, err := f.document(maxLine)
		if err != nil {
			return outcome{skipped: Skipped{Files: 1}}
		}
		var ok bool
		if o.call, o.is, ok = parseOpenCode(text); !ok {
			o.skipped.Lines++
		}
		return o
	}, func(o outcome) bool {
		skipped.add(o.skipped)
		switch {
		case !o.is:
		case o.call.Request != "" && seen[o.call.Request]:
			skipped.Duplicates++
		default:
			seen[o.call.Request] = true
			return yield(o.call)
		}
		return true
	})
	return skipped, nil
}

// escape makes a pattern that is a path.
func escape(dir string) string {
	if os.PathSeparator == '\\' {
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// parseOpenCode reads one message. A cost of 0 is that of a subscription, and says nothing.
func parseOpenCode(text []byte) (call usage.Call, isCall, ok bool) {
	c := &cursor{text: text}
	call = usage.Call{Agent: "opencode", Unpriced: Unpriced}
	var total, reasoning, created int64
	var tokens bool
	c.object(func(key []byte) {
		switch string(key) {
		case "id":
			call.Request = plain(c)
		case "sessionID":
			call.Session = plain(c)
		case "modelID":
			call.Model = plain(c)
		case "time":
			c.object(func(key []byte) {
				if string(key) == "created" {
					created = c.whole(1 << 50) // milliseconds since 1970
				}
			})
		case "cost":
			if cost, told := c.money(); told && cost > 0 {
				call.Cost, call.Unpriced = cost, ""
			}
		case "tokens":
			tokens = c.next() == '{'
			c.object(func(key []byte) {
				switch string(key) {
				case "input":
					call.Input = c.count()
				case "output":
					call.Output = c.count()
				case "reasoning":
					reasoning = c.count()
				case "total":
					total = c.count()
				case "cache":
					c.object(func(key []byte) {
						switch string(key) {
						case "read":
							call.CacheRead = c.count()
						case "write":
							call.CacheWrite = c.count()
						}
					})
				}
			})
		}
	})
	if !c.end() {
		return call, false, false
	}
	if !tokens || call.Model == "" {
		return call, false, true
	}
	// Some versions count what was thought apart, and only the sum tells which.
	if total == call.Total()+reasoning {
		call.Output += reasoning
	} else if call.Output == 0 {
		call.Output = max(total-call.Total(), 0)
	}
	call.Thinking = min(reasoning, call.Output)
	call.Time = time.UnixMilli(created).UTC()
	return call, call.Total() > 0, true
}
