package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/changes"
	"github.com/bailey-sandbox/bailey/internal/patch"
	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

type diffOptions struct{ stat, names, json, noPager, exitCode bool }

func newDiff(a *app) *cobra.Command {
	o := &diffOptions{}
	cmd := &cobra.Command{
		Use:   "diff [flags] [NAME] [PATH...]",
		Short: "Show what an agent has changed in a project under review",
		Long: `Show what the agent has changed in a project that was started with --review, and none of which is in the
project yet: of the sandbox NAME, or of the one that reviews the directory you are in. The riskiest changes
come first, each with the reason. What is shown can then be applied, exactly as it was shown.

On a terminal the output is coloured and paged, and control characters are made visible; elsewhere it is a
patch as git apply and patch take it, and the reasons are on stderr.`,
		Example:           "  bailey diff\n  bailey diff --stat claude-shop\n  bailey diff claude-shop src > changes.patch",
		ValidArgsFunction: a.names,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.diff(cmd.Context(), args, o) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.stat, "stat", false, "list the files, with how many lines change and why to look")
	fs.BoolVar(&o.names, "name-only", false, "list the files alone")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	fs.BoolVar(&o.noPager, "no-pager", false, "do not use $PAGER")
	fs.BoolVar(&o.exitCode, "exit-code", false, "end with 1 when something has changed")
	return cmd
}

// difference is an item as diff --json tells it.
type difference struct {
	Project string `json:"project"`
	review.Item
	Added   int `json:"added"`
	Removed int `json:"removed"`
}

func (a *app) diff(ctx context.Context, args []string, o *diffOptions) error {
	all, err := a.readReviews(ctx, args)
	if err != nil {
		return err
	}
	switch {
	case o.json:
		err = a.diffJSON(all)
	case o.names:
		for _, r := range all {
			for _, i := range r.chosen {
				fmt.Fprintln(a.Out, vt.OneLine(i.Path))
			}
		}
	case o.stat:
		err = a.diffStat(all)
	default:
		err = a.diffPatch(ctx, all, o)
	}
	if err != nil {
		return err
	}
	for _, r := range all {
		if o.exitCode && len(r.chosen) > 0 {
			return &exitError{code: 1}
		}
	}
	return nil
}

func (a *app) diffJSON(all []reviewed) error {
	list := []difference{}
	for _, r := range all {
		for _, i := range r.chosen {
			added, removed := countLines(r.Review, i)
			list = append(list, difference{r.Path, i, added, removed})
		}
	}
	return a.json(list)
}

func (a *app) diffStat(all []reviewed) error {
	var rows [][]string
	files, plus, minus := 0, 0, 0
	for _, r := range all {
		for _, i := range r.chosen {
			added, removed := countLines(r.Review, i)
			files, plus, minus = files+1, plus+added, minus+removed
			rows = append(rows, []string{letter(i), shownPath(i), fmt.Sprintf("+%d -%d", added, removed), reasons(i)})
		}
	}
	if files == 0 {
		a.note("nothing has changed")
		return nil
	}
	if err := a.table([]string{"", "FILE", "LINES", "WHY TO LOOK"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.Out, "%d files, %d lines added, %d removed\n", files, plus, minus)
	return err
}

// countLines counts what a patch of the item adds and removes.
func countLines(r *review.Review, i review.Item) (added, removed int) {
	before, after := r.Contents(i)
	if i.Old.Kind == changes.Link || i.New.Kind == changes.Link || !patch.IsText(before) || !patch.IsText(after) {
		return 0, 0
	}
	return sum(patch.Hunks(string(before), string(after)))
}

// sum counts what hunks add and remove.
func sum(hunks []patch.Hunk) (added, removed int) {
	for _, h := range hunks {
		for _, l := range h.Lines {
			switch l.Op {
			case '+':
				added++
			case '-':
				removed++
			}
		}
	}
	return added, removed
}

// diffPatch prints patches, and remembers what was printed.
func (a *app) diffPatch(ctx context.Context, all []reviewed, o *diffOptions) error {
	nothing := true
	for _, r := range all {
		a.sayReview(r)
		nothing = nothing && len(r.chosen) == 0
	}
	if nothing {
		a.note("nothing has changed")
		return nil
	}
	out, end := a.pager(ctx, o.noPager)
	defer end()
	_, tty := terminal(a.Out)
	for _, r := range all {
		for _, i := range r.chosen {
			text, ok := r.PatchOf(i)
			switch {
			case tty:
				text = a.paint(describeItem(r.Review, i, text, ok))
			case !ok:
				a.note("%s is in no patch: %s", shownPath(i), unsaid(i))
			}
			if _, err := out.Write(text); err != nil {
				return nil // the reader has seen enough, and nothing counts as shown
			}
		}
	}
	for _, r := range all {
		if err := a.remember(r); err != nil {
			return err
		}
	}
	return nil
}

// remember notes that the user has seen what is chosen.
func (a *app) remember(r reviewed) error {
	lock, err := r.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	return r.Show(r.chosen, !r.paths)
}

// sayReview lists on stderr what needs a look.
func (a *app) sayReview(r reviewed) {
	var risky []review.Item
	for _, i := range r.chosen {
		if len(i.Risks) > 0 || i.Conflict != "" {
			risky = append(risky, i)
		}
	}
	if len(risky) > 0 {
		a.note("%d of %d changes need a look, and are applied only when they are named:", len(risky), len(r.chosen))
		for _, i := range risky {
			fmt.Fprintf(a.Err, "  %s  %s\n", vt.OneLine(shownPath(i)), vt.OneLine(reasons(i)))
		}
	}
	if len(r.Repositories) > 0 {
		a.note("what the agent did in %s stays in the sandbox: git's own files are never applied", strings.Join(r.Repositories, ", "))
	}
}

// unsaid says why an item has no patch.
func unsaid(i review.Item) string {
	switch {
	case i.New.Kind == changes.Special || i.New.Kind == changes.Unreadable:
		return reasons(i)
	case i.Old.Kind == changes.Dir || i.New.Kind == changes.Dir:
		return "patches know no directories"
	default:
		return "it is too large, or has changed while it was read"
	}
}

// describeItem is an item on a terminal: why to look, then its patch or what can be said instead.
func describeItem(r *review.Review, i review.Item, text []byte, ok bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n", letter(i), shownPath(i))
	if i.Conflict != "" {
		fmt.Fprintf(&b, "! conflict: %s\n", i.Conflict)
	}
	for _, k := range i.Risks {
		fmt.Fprintf(&b, "! %s: %s\n", k.Kind, k.Why)
	}
	switch before, after := r.Contents(i); {
	case !ok:
		fmt.Fprintf(&b, "  %s\n", unsaid(i))
	case !patch.IsText(before) || !patch.IsText(after):
		fmt.Fprintf(&b, "  binary, %d bytes before, %d after\n", i.Old.Size, i.New.Size)
	default:
		if at := bytes.Index(text, []byte("\n@@ ")); at >= 0 {
			text = text[at+1:]
		} else {
			text = nil
		}
		if i.Old.Mode != i.New.Mode && i.Old.Is() && i.New.Is() {
			fmt.Fprintf(&b, "  mode %04o becomes %04o\n", i.Old.Mode, i.New.Mode)
		}
		b.Write(text)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// colours says whether the output may be coloured.
func (a *app) colours() bool {
	_, tty := terminal(a.Out)
	return tty && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// paint makes text that came from a sandbox safe for a terminal, and gives lines their colours.
func (a *app) paint(text []byte) []byte {
	var b bytes.Buffer
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		safe := visible(line)
		if code := lineColour(line); code != "" && a.colours() {
			safe = "\x1b[" + code + "m" + safe + "\x1b[0m"
		}
		b.WriteString(safe + "\n")
	}
	return b.Bytes()
}

// visible is vt.OneLine, but that tabs stay.
func visible(line string) string {
	parts := strings.Split(line, "\t")
	for i, p := range parts {
		parts[i] = vt.OneLine(p)
	}
	return strings.Join(parts, "\t")
}

func lineColour(line string) string {
	switch {
	case strings.HasPrefix(line, "+"):
		return "32"
	case strings.HasPrefix(line, "-"):
		return "31"
	case strings.HasPrefix(line, "@@ "):
		return "36"
	case strings.HasPrefix(line, "! "):
		return "1;33"
	case line != "" && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\\"):
		return "1"
	}
	return ""
}

// pager is where long output goes: through the user's pager on a terminal, as git does it. end waits for it.
func (a *app) pager(ctx context.Context, never bool) (out io.Writer, end func()) {
	command := a.getenv("BAILEY_PAGER")
	if command == "" {
		command = a.getenv("PAGER")
	}
	if command == "" {
		command = "less"
	}
	file, tty := terminal(a.Out)
	if never || !tty || command == "cat" || a.getenv("TERM") == "dumb" {
		return a.Out, func() {}
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env = append(a.cfg.Environ[:len(a.cfg.Environ):len(a.cfg.Environ)], "LESS="+lessFlags(a.getenv("LESS")))
	cmd.Stdout, cmd.Stderr = file, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return a.Out, func() {}
	}
	return in, func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
}

// lessFlags are those that show colours and end at once when everything fits, unless the user has others.
func lessFlags(have string) string {
	if have == "" {
		return "FRX"
	}
	return have
}
