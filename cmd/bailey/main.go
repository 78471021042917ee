// Command bailey runs AI coding agents in a sandbox.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/backend/all"
	"github.com/bailey-sandbox/bailey/internal/cli"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	if len(args) > 1 {
		if child := all.Child(args[1]); child != nil {
			return child(args[2:])
		}
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bailey: cannot find my own program:", err)
		return 125
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return cli.Main(ctx, args[min(1, len(args)):], cli.Config{
		Self:     self,
		Backends: func(log *slog.Logger) []sandbox.Backend { return all.Backends(self, log) },
		Environ:  os.Environ(),
		Streams:  cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr},
	})
}
