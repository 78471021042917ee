// Command serve runs modelapi on an address, to try an agent by hand: each -run is a turn that calls the
// shell tool, -say the text after them. It prints its base URL, then each request's method and path.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/bailey-sandbox/bailey/test/modelapi"
)

func main() {
	api := &modelapi.Server{}
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	say := flag.String("say", "Done.", "text of the last turn")
	flag.Func("run", "shell command of the next turn (repeatable)", func(command string) error {
		api.Turns = append(api.Turns, modelapi.Run(command))
		return nil
	})
	flag.Parse()
	api.Turns = append(api.Turns, modelapi.Say(*say))
	if err := serve(*addr, api); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func serve(addr string, api http.Handler) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		api.ServeHTTP(w, r)
	}))
}
