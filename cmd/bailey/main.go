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
	if len(args) == 0 {
		args = []string{"bailey"} // old kernels let a caller leave the name out
	}
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
	return cli.Main(ctx, args[1:], cli.Config{
		Self: self,
		Arg0: args[0],
		// Backends start processes that may be neither allowed to search the way to the binary (/root is
		// private) nor find it there any more (go run deletes it): the kernel's link leads to it always.
		Backends: func(log *slog.Logger) []sandbox.Backend { return all.Backends("/proc/self/exe", log) },
		Environ:  os.Environ(),
		Streams:  cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr},
	})
}
