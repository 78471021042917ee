package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/usage"
	"github.com/bailey-sandbox/bailey/internal/usage/history"
	"github.com/bailey-sandbox/bailey/internal/usage/ledger"
	"github.com/bailey-sandbox/bailey/internal/usage/price"
	"github.com/bailey-sandbox/bailey/internal/usage/report"
)

// watchPause is how often bailey usage --watch looks again.
const watchPause = 2 * time.Second

type usageOptions struct {
	by           string
	since, until string
	csv, watch   bool
	imports      bool
	chart        string
	json         bool
}

func newUsage(a *app) *cobra.Command {
	o := &usageOptions{}
	cmd := &cobra.Command{
		Use:   "usage [flags] [NAME]",
		Short: "Show what agents have used, and what it cost",
		Long: `Show the tokens that the sandboxes' agents, or one's, have used, and what they cost: as the providers' answers
say it, for every agent alike, also of sandboxes that are gone. A cost is that of the providers' list prices, or of
prices: in config.yaml; subscriptions cost what they cost. "~" marks an estimate, "+" that something is in it
which nobody can price. IN is what was read anew, WRITE and READ are into and from caches.

--import reads the logs instead that agents on this host keep themselves: Claude Code, Codex, OpenCode, Gemini CLI.`,
		Example: `  bailey usage
  bailey usage --by model --since 7d
  bailey usage claude-shop --by session
  bailey usage --import --by day --chart usage.svg`,
		Args:              takes(0, 1, "NAME"),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(report.Ways(), report.By(o.by)) {
				return usageError(cmd, "cannot add up by %q: write one of %s", o.by, joinWays())
			}
			if o.json && o.csv || o.watch && (o.json || o.csv || o.chart != "") {
				return usageError(cmd, "--json, --csv and --watch are ways to print: give one of them")
			}
			name := ""
			if len(args) > 0 {
				if name = args[0]; o.imports {
					return usageError(cmd, "what agents log outside of bailey is of no sandbox: leave NAME away")
				}
			}
			return a.usage(cmd.Context(), o, name)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.by, "by", string(report.Sandbox), "add up by `WHAT`: "+joinWays())
	fs.StringVar(&o.since, "since", "", "only from a `TIME` on: 2026-11-27, or how long ago, such as 12h or 7d")
	fs.StringVar(&o.until, "until", "", "only before a `TIME`")
	fs.BoolVar(&o.imports, "import", false, "read the logs that agents on this host have kept instead")
	fs.StringVar(&o.chart, "chart", "", "draw it into `FILE`, which ends in .svg or .html")
	fs.BoolVar(&o.csv, "csv", false, "print comma-separated values")
	fs.BoolVar(&o.watch, "watch", false, "go on, and print again what has changed")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

func joinWays() string {
	var all []string
	for _, w := range report.Ways() {
		all = append(all, string(w))
	}
	return strings.Join(all, ", ")
}

func (a *app) usage(ctx context.Context, o *usageOptions, name string) error {
	now := time.Now()
	since, err := parseMoment(o.since, now)
	if err != nil {
		return err
	}
	until, err := parseMoment(o.until, now)
	if err != nil {
		return err
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	prices, err := a.prices(store)
	if err != nil {
		return err
	}
	for before := ""; ; {
		rows, notes, err := a.sums(prices, o, name, since, until)
		if err != nil {
			return err
		}
		if now := fmt.Sprint(rows); now != before {
			before = now
			for _, text := range notes {
				a.note("%s", text)
			}
			if err := a.showUsage(o, rows); err != nil {
				return err
			}
		}
		if !o.watch {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchPause):
		}
	}
}

// prices are the built-in ones, under those of the user's configuration.
func (a *app) prices(store *state.Store) (*price.Table, error) {
	user, err := config.Load(filepath.Join(store.Dirs().Config, state.ConfigFile))
	if err != nil {
		return nil, err
	}
	return price.Builtin(user.Prices...)
}

// ledger is the record of what was used.
func (a *app) ledger() (*ledger.Ledger, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	return ledger.Open(filepath.Join(store.Dirs().Data, state.UsageDir))
}

// sums reads and adds up. The notes say what is not as exact as it looks.
func (a *app) sums(prices *price.Table, o *usageOptions, name string, since, until time.Time) (rows []report.Row, notes []string, err error) {
	sums := report.New(report.By(o.by), time.Local)
	known := map[string]bool{} // models of whose estimates there is a note, or need be none
	add := func(c usage.Call) bool {
		if name != "" && c.Sandbox != name || !since.IsZero() && c.Time.Before(since) || !until.IsZero() && !c.Time.Before(until) {
			return true
		}
		sums.Add(c, prices.Saved(c.Model, c.Time, c.Tokens))
		if c.Estimated && !known[c.Model] {
			known[c.Model] = true
			if near := prices.Nearest(c.Model, c.Time); near != "" {
				notes = append(notes, fmt.Sprintf("no price is known for %s: it is counted as %s, until prices: in config.yaml says more", c.Model, near))
			}
		}
		return true
	}
	if o.imports {
		err := a.importLogs(prices, add)
		return sums.Rows(), notes, err
	}
	l, err := a.ledger()
	if err != nil {
		return nil, nil, err
	}
	broken, err := l.Calls(since, until, add)
	if broken > 0 {
		notes = append(notes, fmt.Sprintf("%d records cannot be read and are not in it", broken))
	}
	return sums.Rows(), notes, err
}

// importLogs yields what agents on this host have logged, priced.
func (a *app) importLogs(prices *price.Table, add func(usage.Call) bool) error {
	sources := history.Find(a.getenv, a.getenv("HOME"))
	if len(sources) == 0 {
		return errors.New("no agent has kept a log on this host")
	}
	for _, s := range sources {
		skipped, err := s.Read(func(c usage.Call) bool {
			if c.Unpriced == history.Unpriced {
				c.Unpriced = ""
				c = prices.Price(c)
			}
			return add(c)
		})
		if err != nil {
			return fmt.Errorf("cannot read the logs of %s: %w", s.Agent, err)
		}
		if n := skipped.Files + skipped.Lines + skipped.Long; n > 0 {
			a.note("%s: %d files and %d lines could not be read", s.Agent, skipped.Files, skipped.Lines+skipped.Long)
		}
		for _, text := range skipped.Notes {
			a.note("%s: %s", s.Agent, text)
		}
	}
	return nil
}

func (a *app) showUsage(o *usageOptions, rows []report.Row) error {
	total := report.Total(rows)
	if o.chart != "" {
		if err := drawUsage(o.chart, "used, by "+o.by, rows); err != nil {
			return err
		}
		fmt.Fprintln(a.Out, o.chart)
		return nil
	}
	switch {
	case o.json:
		return a.json(struct {
			By    string       `json:"by"`
			Rows  []report.Row `json:"rows"`
			Total report.Row   `json:"total"`
		}{o.by, rows, total})
	case o.csv:
		return a.usageCSV(o, rows)
	case len(rows) == 0:
		a.note("nothing was used")
		return nil
	}
	last := "SAVED"
	if report.By(o.by) == report.Session {
		last = "CONTEXT" // grows with each turn
	}
	const others = 64 // columns
	_, cols := a.size()
	var table [][]string
	for _, r := range append(slices.Clone(rows), total) {
		if table = append(table, usageRow(r, max(16, cols-others), report.By(o.by))); last == "CONTEXT" {
			table[len(table)-1][7] = report.Spark(r.Context, 8)
		}
	}
	table[len(table)-1][0] = "total"
	return a.table([]string{strings.ToUpper(o.by), "CALLS", "IN", "OUT", "WRITE", "READ", "COST", last}, table)
}

// usageRow has a row's key in at most longest columns.
func usageRow(r report.Row, longest int, by report.By) []string {
	key := []rune(r.Key)
	if len(key) == 0 {
		key = []rune("-")
	}
	switch {
	case len(key) <= longest:
	case by == report.Session: // they differ at their ends
		key = append([]rune("…"), key[len(key)-longest+1:]...)
	default:
		key = append(key[:longest-1], '…')
	}
	cost := r.Cost.String()
	if r.Estimated > 0 {
		cost = "~" + cost
	}
	if r.Unpriced > 0 {
		cost += "+"
	}
	return []string{string(key), strconv.Itoa(r.Calls), report.Count(r.Input), report.Count(r.Output), report.Count(r.CacheWrite + r.CacheWrite1h), report.Count(r.CacheRead), cost, r.Saved.String()}
}

func (a *app) usageCSV(o *usageOptions, rows []report.Row) error {
	w := csv.NewWriter(a.Out)
	_ = w.Write([]string{o.by, "calls", "input", "output", "thinking", "cache_write", "cache_write_1h", "cache_read", "searches", "cost_usd", "saved_usd", "estimated", "unpriced"})
	for _, r := range rows {
		n := func(v int64) string { return strconv.FormatInt(v, 10) }
		_ = w.Write([]string{r.Key, strconv.Itoa(r.Calls), n(r.Input), n(r.Output), n(r.Thinking), n(r.CacheWrite), n(r.CacheWrite1h), n(r.CacheRead), n(r.Searches),
			r.Cost.Decimal(), r.Saved.Decimal(), strconv.Itoa(r.Estimated), strconv.Itoa(r.Unpriced)})
	}
	w.Flush()
	return w.Error()
}

func drawUsage(path, title string, rows []report.Row) error {
	draw := map[string]func(string, []report.Row) string{".svg": report.SVG, ".html": report.HTML}[filepath.Ext(path)]
	if draw == nil {
		return sandbox.WithHint(fmt.Errorf("cannot draw %s: it ends in neither .svg nor .html", path), "--chart usage.svg")
	}
	if err := os.WriteFile(path, []byte(draw(title, rows)), 0o644); err != nil {
		return fmt.Errorf("cannot draw: %w", err)
	}
	return nil
}

// parseMoment reads a day, a day with a time, or how long ago; "" is the zero time.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-11-27, 12h or 7d", text)
}
