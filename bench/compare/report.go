package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is what a benchmark finds.
type Report struct {
	Machine  []string  `json:"machine"`  // processor, kernel, load
	Versions []string  `json:"versions"` // of each contestant
	Results  []Result  `json:"results"`
	Verdicts []Verdict `json:"verdicts"`
}

// Machine describes the computer at this moment.
func Machine() []string {
	lines := []string{fmt.Sprintf("%d × %s", runtime.NumCPU(), field("/proc/cpuinfo", "model name"))}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		lines = append(lines, "linux "+strings.TrimSpace(string(kernel)))
	}
	return append(lines, "load "+Load(), fmt.Sprintf("uid %d", os.Getuid()))
}

// Load is the load average of the last minute.
func Load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

func field(path, key string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// Add appends what another benchmark of the same run has found.
func (r *Report) Add(other Report) {
	for _, v := range other.Versions {
		if !slices.Contains(r.Versions, v) {
			r.Versions = append(r.Versions, v)
		}
	}
	r.Results = append(r.Results, other.Results...)
	r.Verdicts = append(r.Verdicts, other.Verdicts...)
}

// JSON writes the report for programs.
func (r Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Table writes the report for people.
func (r Report) Table(w io.Writer) error {
	fmt.Fprintf(w, "%s\n%s\n\n", strings.Join(r.Machine, ", "), strings.Join(r.Versions, ", "))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tMEDIAN\tMIN\tP90\tUNIT\tROUNDS")
	for _, res := range r.Results {
		if res.Missing != "" {
			fmt.Fprintf(t, "%s\tnot here: %s\n", res.Name, res.Missing)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\n", res.Name, digits(res.Median), digits(res.Min), digits(res.P90), res.Unit, len(res.Values))
	}
	fmt.Fprintln(t, "\nWHAT\tAGAINST\tRATIO\tSPREAD\tTARGET")
	for _, v := range r.Verdicts {
		if v.Missing != "" {
			fmt.Fprintf(t, "%s\t%s\t\t\t%s: not here: %s\n", v.Command, v.Peer, v.Target, v.Missing)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%.2f–%.2f\t%s: %s\n", v.Command, v.Peer, v.Ratio, v.Low, v.High, v.Target, v.outcome())
	}
	return t.Flush()
}

func (v Verdict) outcome() string {
	if v.Met() {
		return "met"
	}
	return fmt.Sprintf("missed by %s %s", digits(v.Excess), v.Unit)
}

// digits keeps what a reader needs of a number: three decimals where it is small.
func digits(f float64) string {
	if f < 10 {
		return fmt.Sprintf("%.3f", f)
	}
	return fmt.Sprintf("%.1f", f)
}
