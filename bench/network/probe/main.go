// Command probe is both ends of every connection that the network benchmark makes, and the plain proxy that it
// compares with: a static program without settings, so that the roads between the ends differ and nothing else.
//
//	probe serve                    serves; prints its address
//	probe splice ADDRESS           copies between connections and ADDRESS; prints its address
//	probe measure ADDRESS          prints the figures of package network, a number each, milliseconds
//	probe reach ADDRESS            ends when ADDRESS serves
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return listen(serve)
	case len(args) == 2 && args[0] == "splice":
		return listen(splice(args[1]))
	case len(args) == 2 && args[0] == "measure":
		return measure(args[1])
	case len(args) == 2 && args[0] == "reach":
		return reach(args[1])
	}
	return fmt.Errorf("unknown arguments %q", args)
}
