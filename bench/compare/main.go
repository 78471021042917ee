package compare

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main is the main function of a benchmark: it reads the flags, runs bench, prints its report, and returns the
// exit code. bench gets the program to measure, "" for one that is built from this module, and the
// number of rounds.
func Main(name string, rounds int, bench func(ctx context.Context, program string, rounds int) (Report, error)) int {
	flag.IntVar(&rounds, "n", rounds, "`ROUNDS` that are measured, after one to warm up")
	asJSON := flag.Bool("json", false, "print JSON")
	program := flag.String("bailey", "", "the `PROGRAM` to measure; built from this module when empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := bench(ctx, *program, rounds)
	if err == nil && *asJSON {
		err = report.JSON(os.Stdout)
	} else if err == nil {
		err = report.Table(os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}
