// Command tally is what package usage measures: it reads a history of Claude Code as bailey does, prices it, and prints the
// sum of each model as JSON.
//
//	tally PROJECTS
//	tally time PROJECTS COMMAND...   prints how many milliseconds the command takes, with the history on the disk and in memory
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
	"github.com/bailey-sandbox/bailey/internal/usage/history"
	"github.com/bailey-sandbox/bailey/internal/usage/price"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1:
		return tally(args[0])
	case len(args) > 2 && args[0] == "time":
		return measure(args[1], args[2:])
	}
	return errors.New("see the source for its arguments")
}

// Sum is what one model has used.
type Sum struct {
	usage.Tokens
	Cost usage.Money
}

func tally(projects string) error {
	prices, err := price.Builtin()
	if err != nil {
		return err
	}
	sums := map[string]Sum{}
	skipped, err := history.Claude([]string{projects}, func(c usage.Call) bool {
		if c.Unpriced != "" {
			c.Cost, _, _ = prices.Cost(c.Model, c.Time, c.Tokens)
		}
		s := sums[c.Model]
		sums[c.Model] = Sum{s.Plus(c.Tokens), s.Cost + c.Cost}
		return true
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%+v\n", skipped)
	return json.NewEncoder(os.Stdout).Encode(sums)
}

// measure runs the command after the history was taken out of the page cache, and once more.
func measure(projects string, argv []string) error {
	if err := forget(projects); err != nil {
		return err
	}
	for range 2 {
		cmd := exec.Command(argv[0], argv[1:]...)
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		fmt.Println(float64(time.Since(start).Microseconds()) / 1000)
	}
	return nil
}
