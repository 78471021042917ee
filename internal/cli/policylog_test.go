package cli

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bailey-sandbox/bailey/internal/audit"
)

// A line without an end, as a damaged disk may have one, is not gathered; and what follows it is shown.
func TestDecisionsHoldOneLineAtMost(t *testing.T) {
	var out, notes bytes.Buffer
	l := &decisions{app: &app{Streams: Streams{Out: &out, Err: &notes}, program: program}, options: &policyLogOptions{}}
	for range 100 {
		if err := l.copy(strings.NewReader(strings.Repeat("x", audit.MaxLine))); err != nil || cap(l.half) > 4*audit.MaxLine {
			t.Fatalf("%d bytes are held, %v", cap(l.half), err)
		}
	}
	const line = `{"time":"2026-01-02T03:04:05Z","seq":%,"kind":"connect","host":"a.test","port":443,"verdict":"deny","reason":"no"}` + "\n"
	more := "\n" + strings.Replace(line, "%", "1", 1) + strings.Replace(line, "%", "4", 1)
	if err := l.copy(iotest.HalfReader(strings.NewReader(more))); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "a.test:443") != 2 {
		t.Errorf("shown is %q", got)
	}
	if got := notes.String(); got != "note: a line of the record is damaged\nnote: the lines 2 to 3 of the record are missing\n" {
		t.Errorf("noted is %q", got)
	}
}
