package cli

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// verified is what log --verify --json tells.
type verified struct {
	Sandbox string `json:"sandbox"`
	Intact  bool   `json:"intact"`
	audit.Chain
	File   string `json:"file,omitempty"` // of the first line that does not fit
	Line   int    `json:"line,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// policyVerify checks the record of sb, both files as one.
func (a *app) policyVerify(sb *state.Sandbox, asJSON bool) error {
	r, err := openRecord(sb)
	if err != nil {
		return err
	}
	defer r.close()
	c, err := audit.Verify(r.readers()...)
	v := verified{Sandbox: sb.Name, Intact: err == nil, Chain: c}
	var b *audit.Break
	switch {
	case errors.As(err, &b):
		v.File, v.Line, v.Reason = []string{state.AuditFile + audit.PreviousSuffix, state.AuditFile}[b.File], b.Line, b.Why
		if asJSON {
			return cmp.Or(a.json(v), error(&exitError{code: exitContainment}))
		}
		return &exitError{code: exitContainment, err: fmt.Errorf("the record of %s is not as it was written: line %d of %s: %s", sb.Name, v.Line, v.File, v.Reason)}
	case err != nil:
		return err
	case asJSON:
		return a.json(v)
	}
	return a.showVerified(v)
}

func (a *app) showVerified(v verified) error {
	if v.First > 1 {
		a.note("lines 1 to %d are not kept any more", v.First-1)
	}
	if v.Unchained > 0 {
		a.note("the first %d lines are unchained: an older bailey wrote them, and only their numbers were checked", v.Unchained)
	}
	if v.Torn {
		a.note("half a line at the end is not counted: it is being written, or was when the machine went down")
	}
	if v.Lines == 0 {
		_, err := fmt.Fprintln(a.Out, "intact: the record is empty")
		return err
	}
	_, err := fmt.Fprintf(a.Out, "intact: %d lines, %d to %d, the last with the hash %s\n", v.Lines, v.First, v.Last, v.Hash)
	return err
}
