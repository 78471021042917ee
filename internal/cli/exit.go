package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/vt"
)

// Exit codes of our own; everything else is the code of what ran inside.
const (
	exitBudget      = 121
	exitContainment = 122
	exitPolicy      = 123
	exitTimeout     = 124
	exitFailure     = 125
)

const exitCodesHelp = `
Exit codes:
  0-120, 128-255  what ran inside ended so (128+n: by signal n)
  121  a budget was reached, and nobody is at the terminal
  122  a promised protection could not be set up; nothing was started
  123  the network policy could not be set up; nothing was started
  124  the time given by --timeout was over
  125  bailey itself failed, or the command line is wrong
  126  the command inside cannot be executed
  127  the command inside was not found
`

// exitError ends the process with code, after printing err if there is one.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	var exit *exitError
	var start *guestproto.StartError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &start) && start.Code != 0:
		return start.Code
	case errors.Is(err, sandbox.ErrContainment):
		return exitContainment
	case errors.Is(err, sandbox.ErrPolicy):
		return exitPolicy
	default:
		return exitFailure
	}
}

// printError writes the one line that says what is wrong, and the one that says what helps.
func (a *app) printError(err error) {
	var exit *exitError
	if err == nil || errors.As(err, &exit) && exit.err == nil {
		return
	}
	fmt.Fprintf(a.Err, "%s: %s\n", a.program, vt.OneLine(err.Error()))
	if hint := sandbox.Hint(err); hint != "" {
		fmt.Fprintf(a.Err, "hint: %s\n", vt.OneLine(a.spell(hint)))
	}
}

// usageError is a wrong command line.
func usageError(cmd *cobra.Command, format string, args ...any) error {
	return sandbox.WithHint(fmt.Errorf(format, args...), cmd.CommandPath()+" --help")
}

// takes is a cobra.PositionalArgs that wants between lo and hi arguments called what; hi < 0 is no limit.
func takes(lo, hi int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < lo:
			return usageError(cmd, "%s is missing", what)
		case hi >= 0 && len(args) > hi:
			return usageError(cmd, "too many arguments: %q", args[hi])
		}
		return nil
	}
}

func uid() int { return os.Geteuid() }
