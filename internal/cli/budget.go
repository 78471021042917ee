package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/usage/budget"
	"github.com/bailey-sandbox/bailey/internal/usage/report"
)

func newBudget(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "budget COMMAND",
		Short: "Cap what agents may use",
		Long: `Cap what agents may use, in money (5usd) or tokens (2Mtok), over restarts and whatever sandboxes run at once. A
budget is of SCOPE: all, day, month, sandbox:NAME or agent:NAME, the latter two also by the day or month
(agent:claude/day). Before each call of a model, the most that it can cost is set aside; at the limit the
agent is told, and its calls are refused until you raise it. A limit is passed by one call's cost at most.`,
		Example: "  bailey budget set day 20usd\n  bailey budget set sandbox:claude-shop 5usd\n  bailey budget raise sandbox:claude-shop 5usd\n  bailey budget ls",
	}
	cmd.AddCommand(newBudgetSet(a), newBudgetRaise(a), newBudgetRm(a), newBudgetLs(a))
	return cmd
}

func newBudgetSet(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "set SCOPE AMOUNT",
		Short:   "Set a budget, or change it",
		Example: "  bailey budget set day 20usd\n  bailey budget set agent:codex/month 50Mtok",
		Args:    takes(2, 2, "SCOPE or AMOUNT"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.changeBudget(args[0], args[1], func(_, given budget.Amount) (budget.Amount, error) { return given, nil })
		},
	}
}

func newBudgetRaise(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "raise SCOPE AMOUNT",
		Short:   "Add to a budget: what is held goes on",
		Example: "  bailey budget raise sandbox:claude-shop 5usd",
		Args:    takes(2, 2, "SCOPE or AMOUNT"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.changeBudget(args[0], args[1], func(was, given budget.Amount) (budget.Amount, error) {
				switch {
				case was == budget.Amount{}:
					return was, sandbox.WithHint(fmt.Errorf("there is no budget of %s", args[0]), "bailey budget set "+args[0]+" "+args[1])
				case (was.Tokens == 0) != (given.Tokens == 0):
					return was, fmt.Errorf("the budget of %s is %s: raise it by the same kind", args[0], was)
				}
				return budget.Amount{Money: was.Money + given.Money, Tokens: was.Tokens + given.Tokens}, nil
			})
		},
	}
}

func newBudgetRm(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rm SCOPE",
		Short:   "Take a budget away",
		Example: "  bailey budget rm day",
		Args:    takes(1, 1, "SCOPE"),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := a.limit(args[0])
			if err != nil && !errors.Is(err, state.ErrNotFound) { // that of a sandbox that is gone stays until it is taken away
				return err
			}
			book, err := a.book()
			if err != nil {
				return err
			}
			return book.Change(func(all []budget.Limit) ([]budget.Limit, error) {
				left := slices.DeleteFunc(slices.Clone(all), func(o budget.Limit) bool { return l.Same(o) || o.Scope() == args[0] })
				if len(left) == len(all) {
					return nil, sandbox.WithHint(fmt.Errorf("there is no budget of %s", args[0]), "bailey budget ls")
				}
				return left, nil
			})
		},
	}
}

func newBudgetLs(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the budgets, and what is used of them",
		Example: "  bailey budget ls",
		Args:    takes(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			book, err := a.book()
			if err != nil {
				return err
			}
			states, err := book.States()
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(slices.Concat([]budget.State{}, states))
			}
			if len(states) == 0 {
				a.note("there is no budget: bailey budget set day 20usd")
				return nil
			}
			var rows [][]string
			for _, s := range states {
				rows = append(rows, []string{s.Scope(), s.Amount.String(), shownAmount(s.Used, s.Amount), fmt.Sprintf("%d%%", s.Percent()), shownAmount(s.Held, s.Amount)})
			}
			return a.table([]string{"BUDGET", "AMOUNT", "USED", "", "SET ASIDE"}, rows)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// shownAmount is the part of amount that counts for a budget of that kind.
func shownAmount(amount, of budget.Amount) string {
	if of.Tokens != 0 {
		return report.Count(amount.Tokens) + "tok"
	}
	return amount.Money.String()
}

// book is the budgets, with those of the user's configuration.
func (a *app) book() (*budget.Book, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	user, err := config.Load(filepath.Join(store.Dirs().Config, state.ConfigFile))
	if err != nil {
		return nil, err
	}
	return budget.Open(filepath.Join(store.Dirs().Data, state.UsageDir), time.Local, user.Budget.All...)
}

// limit reads what a budget is of. That of a sandbox is its purse's, which its forks have too.
func (a *app) limit(scope string) (budget.Limit, error) {
	of, period, err := budget.ParseScope(scope)
	if err != nil {
		return budget.Limit{}, err
	}
	l := budget.Limit{Of: of, Period: period}
	if name, ok := strings.CutPrefix(of, "sandbox:"); ok {
		sb, err := a.load(name)
		if err != nil {
			return budget.Limit{}, err
		}
		l.Of, l.Name = "sandbox:"+sb.Account(), sb.Name
	}
	return l, nil
}

// changeBudget makes one budget what change makes of what it was and what is given.
func (a *app) changeBudget(scope, amount string, change func(was, given budget.Amount) (budget.Amount, error)) error {
	given, err := budget.ParseAmount(amount)
	if err != nil {
		return err
	}
	l, err := a.limit(scope)
	if err != nil {
		return err
	}
	book, err := a.book()
	if err != nil {
		return err
	}
	return book.Change(func(all []budget.Limit) ([]budget.Limit, error) {
		i := slices.IndexFunc(all, l.Same)
		if i < 0 {
			l.Amount = book.Usual(l)
			all, i = append(all, l), len(all)
		}
		var err error
		all[i].Amount, err = change(all[i].Amount, given)
		return all, err
	})
}

// setBudget caps what a sandbox may use; "" leaves it as it is.
func (a *app) setBudget(sb *state.Sandbox, amount string) error {
	if amount == "" {
		return nil
	}
	return a.changeBudget("sandbox:"+sb.Name, amount, func(_, given budget.Amount) (budget.Amount, error) { return given, nil })
}
