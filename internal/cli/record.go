package cli

import (
	"io"
	"os"
	"path/filepath"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// record is both files of a sandbox's record of decisions; either may be empty.
type record struct{ previous, current *os.File }

// openRecord opens them as they are at one moment: a rotation between the two openings would make one file of
// them, or leave one out between them.
func openRecord(sb *state.Sandbox) (record, error) {
	path := filepath.Join(sb.Dir, state.AuditFile)
	for {
		var r record
		var err error
		if r.current, err = openLog(path); err != nil {
			return record{}, err
		}
		if r.previous, err = openLog(path + audit.PreviousSuffix); err != nil {
			_ = r.current.Close()
			return record{}, err
		}
		again, err := openLog(path)
		if err != nil {
			r.close()
			return record{}, err
		}
		still := sameFile(r.current, again)
		_ = again.Close()
		if still {
			return r, nil
		}
		r.close()
	}
}

func (r record) close() {
	_ = r.previous.Close()
	_ = r.current.Close()
}

// readers are its files, the oldest first.
func (r record) readers() []io.Reader { return []io.Reader{r.previous, r.current} }
