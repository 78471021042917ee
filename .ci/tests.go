//go:build ignore

// Command tests reads what `go test -json` prints, for CI. With -label it reads stdin: it prints one line
// per package and the whole output of what failed, and appends every result to -results. With -summary it
// prints each skipped test with its reason and, last, the totals of -results.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output, which has no Package
	Test       string
	Elapsed    float64
	Output     string
}

// result is one line of the results file. Test is empty for a whole package that failed, or a check.
type result struct {
	Label, Action, Package, Test, Reason string
}

func main() {
	label := flag.String("label", "", "read events from stdin and file them under `NAME`")
	results := flag.String("results", "", "the results `FILE`")
	summary := flag.Bool("summary", false, "print skipped tests and totals")
	flag.Parse()
	var err error
	if *summary {
		err = summarise(*results)
	} else {
		err = collect(os.Stdin, *label, *results)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
		os.Exit(1)
	}
}

// slow is how many seconds a test takes that is printed by name, so that one sees what a run's time goes into.
const slow = 15

// run is what is known of one `go test` while its events come in.
type run struct {
	output map[[2]string]*strings.Builder // of each test that has not ended, by package and test
	failed map[string]int                 // failed tests of each package
	done   []result
	label  string
	exited bool // go test said that something failed: the line {"Action":"exit"} of its caller
}

func collect(in io.Reader, label, path string) error {
	r := run{output: map[[2]string]*strings.Builder{}, failed: map[string]int{}, label: label}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text()) // the go command's own words
			continue
		}
		r.take(e)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if r.exited && !slices.ContainsFunc(r.done, func(d result) bool { return d.Action == "fail" }) {
		r.done = append(r.done, result{Label: label, Action: "fail", Package: "go test"})
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, d := range r.done {
		if err := json.NewEncoder(f).Encode(d); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) take(e event) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "exit":
		r.exited = true
	case "build-output":
		fmt.Print(e.Output)
	case "output":
		if r.output[key] == nil {
			r.output[key] = &strings.Builder{}
		}
		r.output[key].WriteString(e.Output)
	case "pass", "fail", "skip":
		text := ""
		if b := r.output[key]; b != nil {
			text = b.String()
		}
		if e.Test == "" {
			r.endPackage(e, text)
			return
		}
		delete(r.output, key)
		if e.Elapsed >= slow && !strings.Contains(e.Test, "/") {
			fmt.Printf("slow %s %s %.1fs\n", e.Package, e.Test, e.Elapsed)
		}
		if e.Action == "fail" {
			r.failed[e.Package]++
			fmt.Print(text)
		}
		r.add(e, reason(text))
	}
}

// endPackage prints the package's line. A package that fails without a failed test, by a panic, a timeout
// or a build, counts as one, and what its unfinished tests have said is printed.
func (r *run) endPackage(e event, text string) {
	if e.Action == "fail" && r.failed[e.Package] == 0 {
		for key, b := range r.output {
			if key[0] == e.Package && key[1] != "" {
				fmt.Print(b.String())
			}
		}
		r.add(e, "")
	}
	if e.Action == "fail" {
		fmt.Print(text)
	}
	if e.Action != "skip" { // a package without tests
		fmt.Printf("%-4s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
	}
}

func (r *run) add(e event, why string) {
	d := result{Label: r.label, Action: e.Action, Package: e.Package, Test: e.Test}
	if e.Action == "skip" {
		d.Reason = why
	}
	r.done = append(r.done, d)
}

// reason is what a test said before it skipped.
func reason(text string) string {
	var said []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}

func summarise(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	count := map[string]int{}
	var skipped, failed []string
	for dec := json.NewDecoder(f); ; {
		var d result
		if err := dec.Decode(&d); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		count[d.Action]++
		what := strings.TrimSpace(fmt.Sprintf("%s: %s %s", d.Label, d.Package, d.Test))
		switch d.Action {
		case "skip":
			skipped = append(skipped, what+": "+d.Reason)
		case "fail":
			failed = append(failed, what)
		}
	}
	slices.Sort(skipped)
	list("Skipped", skipped)
	list("Failed", failed)
	fmt.Printf("%d passed, %d failed, %d skipped\n", count["pass"], count["fail"], count["skip"])
	return nil
}

func list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Printf("%s:\n", title)
	for _, l := range lines {
		fmt.Println("  " + l)
	}
	fmt.Println()
}
