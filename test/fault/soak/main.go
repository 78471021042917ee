//go:build linux

// Command soak breaks a real bailey for long, and prints figures: what package fault's tests do in short.
//
//	go run ./test/fault/soak kills -n 300 -seed 1   kill processes of a sandbox's life at random moments
//	go run ./test/fault/soak cycles -n 1000         create, run and remove
//	go run ./test/fault/soak parallel -n 50         that many sandboxes at once
//	go run ./test/fault/soak oneName -n 50          that many operations at once on one sandbox
//	go run ./test/fault/soak clients -n 500         clients that attach to an agent that prints, and are killed
//
// It exits with 1 when something went wrong or was left behind.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/bailey-sandbox/bailey/test/fault/lab"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "soak kills|cycles|parallel|oneName|clients [-n N] [-seed N] [-bailey PATH]")
		os.Exit(2)
	}
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	n := flags.Int("n", 30, "how many")
	seed := flags.Uint64("seed", 1, "what chance makes of it")
	binary := flags.String("bailey", "", "the binary to break; otherwise it is built")
	_ = flags.Parse(os.Args[2:])
	if err := soak(os.Args[1], *n, *seed, *binary); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func soak(what string, n int, seed uint64, binary string) error {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if binary == "" {
		binary = filepath.Join(dir, "bailey")
		if out, err := exec.Command("go", "build", "-tags", "netgo,osusergo", "-o", binary, "./cmd/bailey").CombinedOutput(); err != nil {
			return fmt.Errorf("cannot build bailey: %w\n%s", err, out)
		}
	}
	place := filepath.Join(dir, "lab"+filepath.Base(dir))
	if err := os.Mkdir(place, 0o755); err != nil {
		return err
	}
	l, err := lab.New(place, binary)
	if err != nil {
		return err
	}
	begun := time.Now()
	report, err := l.Try(what, n, seed)
	took := time.Since(begun)
	fmt.Printf("%s %d, seed %d, as user %d: %s; %.1f s, %.0f ms each\n", what, n, seed, os.Getuid(), report,
		took.Seconds(), float64(took.Milliseconds())/float64(n))
	return err
}
