package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

type policyLogOptions struct{ follow, json, denied, verify bool }

func newPolicyLog(a *app) *cobra.Command {
	o := &policyLogOptions{}
	cmd := &cobra.Command{
		Use:   "log [flags] [NAME]",
		Short: "Show what was decided about a sandbox's connections",
		Long: `Show what was decided about a sandbox's connections and names, the oldest first. Without NAME it is the
sandbox of the current workspace. With --json the lines are as they were recorded.

Each line has the hash of the line before it in its "prev". --verify checks them, and prints the hash of
the last line: whoever keeps that elsewhere finds it again in the line behind it, or not at all when the
record was changed. Exit code 122 is a record in which something was changed, removed or inserted.`,
		Example:           "  bailey policy log --denied\n  bailey policy log -f claude-shop\n  bailey policy log --json claude-shop\n  bailey policy log --verify claude-shop",
		Args:              takes(0, 1, ""),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.verify && (o.follow || o.denied) {
				return usageError(cmd, "--verify is about the whole record: leave --follow and --denied away")
			}
			sb, err := a.meant(strings.Join(args, ""))
			if err != nil {
				return err
			}
			if o.verify {
				return a.policyVerify(sb, o.json)
			}
			return a.policyLog(cmd.Context(), sb, o)
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.follow, "follow", "f", false, "go on with what is decided from now on")
	fs.BoolVar(&o.denied, "denied", false, "show refusals only")
	fs.BoolVar(&o.verify, "verify", false, "check that nothing was changed, removed or inserted")
	fs.BoolVar(&o.json, "json", false, "print JSON, one line each")
	return cmd
}

func (a *app) policyLog(ctx context.Context, sb *state.Sandbox, o *policyLogOptions) error {
	r, err := openRecord(sb)
	if err != nil {
		return err
	}
	defer func() { r.close() }()
	l := &decisions{app: a, options: o}
	for _, f := range r.readers() {
		if err := l.copy(f); err != nil {
			return err
		}
	}
	for o.follow {
		next, err := openRecord(sb)
		if err != nil {
			return err
		}
		// What was written before the record was rotated is still in the old file.
		err = l.copy(r.current)
		if err == nil && !sameFile(r.current, next.current) {
			// Rotated twice since, what is between is the older half by now. Of that, what was read has its number.
			r.close()
			r, l.half = next, nil
			if err = l.copy(r.previous); err == nil {
				continue
			}
		} else {
			next.close()
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(logPoll):
		}
	}
	return nil
}

// decisions shows the lines of a record. What is in them came from inside: nothing is printed as it is.
type decisions struct {
	app     *app
	options *policyLogOptions
	half    []byte // of a line whose end is not there yet; of one that is longer than any event only that much
	last    uint64 // number of the last one that was read
}

// copy shows what can be read from r now.
func (l *decisions) copy(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		piece, err := in.ReadSlice('\n')
		l.half = append(l.half, piece[:min(len(piece), audit.MaxLine+1-len(l.half))]...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("cannot read the record: %w", err)
		}
		if err := l.show(l.half); err != nil {
			return err
		}
		l.half = l.half[:0]
	}
}

func (l *decisions) show(text []byte) error {
	var e audit.Event
	if err := json.Unmarshal(text, &e); err != nil {
		l.app.note("a line of the record is damaged")
		return nil
	}
	if e.Seq <= l.last {
		return nil
	}
	if l.last > 0 && e.Seq > l.last+1 {
		l.app.note("the lines %d to %d of the record are missing", l.last+1, e.Seq-1)
	}
	l.last = e.Seq
	if l.options.denied && (e.Verdict != policy.Deny.String() || e.Kind == audit.KindClose || e.Kind == audit.KindResponse) {
		return nil
	}
	var err error
	if l.options.json {
		_, err = l.app.Out.Write(append(vt.JSON([]byte(strings.TrimRight(string(text), "\n"))), '\n'))
	} else {
		_, err = fmt.Fprintln(l.app.Out, vt.OneLine(decision(e)))
	}
	return err
}

// decision is one event for a person.
func decision(e audit.Event) string {
	what := e.Host
	if what == "" {
		what = e.Addr
	}
	if e.Port != 0 {
		what = net.JoinHostPort(what, fmt.Sprint(e.Port))
	}
	verdict, why := e.Verdict, e.Reason
	switch e.Kind {
	case audit.KindRequest, audit.KindAsk:
		what = strings.TrimSpace(e.Method + " " + what + e.Path)
	case audit.KindResponse:
		what, verdict = e.Method+" "+what+e.Path, "ended"
		why = fmt.Sprintf("status %d, %d bytes out, %d in, %s", e.Status, e.BytesOut, e.BytesIn, e.Duration.Round(time.Millisecond))
	case audit.KindWish:
		verdict = "asked"
	case audit.KindAlarm:
		verdict = "alarm"
	case audit.KindDNS:
		what = strings.TrimSpace(what + " " + e.Type)
	case audit.KindClose:
		verdict = "ended"
		why = fmt.Sprintf("%d bytes out, %d in, %s", e.BytesOut, e.BytesIn, e.Duration.Round(time.Millisecond))
	}
	if e.Error != "" {
		why = strings.TrimPrefix(why+"; "+e.Error, "; ")
	}
	if e.Missed > 0 {
		why += fmt.Sprintf(" (%d more were not recorded singly)", e.Missed)
	}
	return fmt.Sprintf("%s  %-5s  %s  %s", e.Time.Local().Format("2006-01-02 15:04:05"), verdict, what, why)
}
