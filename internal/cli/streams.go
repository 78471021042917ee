package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/bailey-sandbox/bailey/internal/vt"
)

// Streams are where a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// terminal returns the file behind a stream when it is a terminal.
func terminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// isTTY reports whether a person sits at both ends: only then can something inside have a terminal.
func (s Streams) isTTY() bool {
	_, in := terminal(s.In)
	_, out := terminal(s.Out)
	return in && out
}

// size is the terminal's size, or the classic one where there is none.
func (s Streams) size() (rows, cols int) {
	if f, ok := terminal(s.Out); ok {
		if cols, rows, err := term.GetSize(int(f.Fd())); err == nil && rows > 0 && cols > 0 {
			return rows, cols
		}
	}
	return 24, 80
}

// table writes rows in columns. Every cell is escaped: some of them come from inside a sandbox.
func (s Streams) table(head []string, rows [][]string) error {
	w := tabwriter.NewWriter(s.Out, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = vt.OneLine(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// json writes v for programs, and so that a person may look at it too.
func (s Streams) json(v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = s.Out.Write(append(vt.JSON(raw), '\n'))
	return err
}

// redraws reports whether a progress line on stderr may be written over. Nothing is ever coloured, so
// NO_COLOR has nothing to turn off.
func (a *app) redraws() bool {
	_, tty := terminal(a.Err)
	return tty && a.getenv("TERM") != "dumb"
}
