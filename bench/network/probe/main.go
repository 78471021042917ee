// Command probe is both ends of every connection that the network benchmark makes, and the plain proxy that it
// compares with: a static program without settings, so that the roads between the ends differ and nothing else.
//
//	probe serve                    serves; prints its address
//	probe splice ADDRESS           copies between connections and ADDRESS; prints its address
//	probe measure ADDRESS          prints the figures of package network, a number each, milliseconds
//	probe reach ADDRESS            ends when ADDRESS serves
//	probe web FILE                 serves HTTPS, with a certificate that it makes and writes to FILE; prints its address
//	probe proxy FILE ADDRESS       is a plain reverse proxy to the probe web at ADDRESS, with its certificate; prints its address
//	probe requests ADDRESS         prints the figures of package requests, a number each, milliseconds; its requests carry
//	                               the token in BENCH_TOKEN
//	probe model PATH ADDRESS       asks for a model's answer at PATH; prints a number each, milliseconds: the median and the
//	                               99th hundredth of the time to its first byte, and the median of the whole
//	probe hold N ADDRESS           opens N connections, prints a line, and holds them until its input ends
//	probe holdweb N ADDRESS        the same, of HTTPS, with one request on each
//	probe soak SECONDS RATE ADDRESS WEB   makes RATE connections a second to both, in turn; prints how many it made
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	number := func(i int) int {
		n, _ := strconv.Atoi(args[i]) // what is no number is none
		return n
	}
	switch {
	case len(args) == 1 && args[0] == "serve":
		return listen(serve)
	case len(args) == 2 && args[0] == "splice":
		return listen(splice(args[1]))
	case len(args) == 2 && args[0] == "measure":
		return measure(args[1])
	case len(args) == 2 && args[0] == "reach":
		return reach(args[1])
	case len(args) == 2 && args[0] == "web":
		return web(args[1])
	case len(args) == 3 && args[0] == "proxy":
		return proxy(args[1], args[2])
	case len(args) == 2 && args[0] == "requests":
		return requests(args[1])
	case len(args) == 3 && args[0] == "model":
		return model(args[1], args[2])
	case len(args) == 3 && args[0] == "hold":
		return hold(number(1), func() (io.Closer, error) { return ask(args[2], askEcho) })
	case len(args) == 3 && args[0] == "holdweb":
		return hold(number(1), func() (io.Closer, error) { return visit(args[2]) })
	case len(args) == 5 && args[0] == "soak":
		return soak(time.Duration(number(1))*time.Second, number(2), args[3], args[4])
	}
	return fmt.Errorf("unknown arguments %q", args)
}
