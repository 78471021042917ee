package audit

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// hashLine is what the line after text, which has no end, says in Prev.
func hashLine(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Chain is what Verify has found in a record that fits together.
type Chain struct {
	Lines uint64 `json:"lines"`
	First uint64 `json:"first,omitempty"` // the number of the first line that is kept
	Last  uint64 `json:"last,omitempty"`
	Hash  string `json:"hash,omitempty"` // of the last line; kept elsewhere, it tells later what was there
	// Unchained counts the first lines, which have no hash because an older bailey wrote them: of them only
	// the numbers are checked.
	Unchained uint64 `json:"unchained,omitempty"`
	Torn      bool   `json:"torn,omitempty"` // half a line is at the end, as a power cut or a write under way leaves it
}

// Break is the first line that does not fit.
type Break struct {
	File int // position among Verify's readers
	Line int // in that file, from 1
	Why  string
}

func (b *Break) Error() string { return fmt.Sprintf("line %d does not fit: %s", b.Line, b.Why) }

// Verify reads the files of a record, the oldest first, and checks that each line has the number and the hash of
// the one before it. Only the first of several files may begin in the middle: what was before it is not kept, and
// so its first line's own hash fits anything. Nothing follows the last line, so only whoever has kept its hash
// knows that it is. The error is a *Break, or one of reading.
func Verify(files ...io.Reader) (Chain, error) {
	var v verifier
	for i, file := range files {
		v.anywhere = i == 0
		if err := v.file(file, i == len(files)-1); err != nil {
			var b *Break
			if errors.As(err, &b) {
				b.File = i
			}
			return Chain{}, err
		}
	}
	if v.chained {
		// The last of the lines without a hash is covered by the next one's.
		v.Unchained = max(v.bare, 1) - 1
	} else if v.bare > 1 || v.First > 1 {
		v.Unchained = v.bare
	}
	return v.Chain, nil
}

// verifier is the state between two lines.
type verifier struct {
	Chain
	bare     uint64 // lines without a hash, all at the beginning
	chained  bool   // a line has had one
	anywhere bool   // the first line may have any number
}

func (v *verifier) file(r io.Reader, last bool) error {
	in := bufio.NewReaderSize(r, MaxLine+1)
	for n := 1; ; n++ {
		text, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(text) == 0:
			return nil
		case errors.Is(err, io.EOF) && last:
			v.Torn = true
			return nil
		case errors.Is(err, io.EOF):
			return &Break{Line: n, Why: "its end is missing"}
		case errors.Is(err, bufio.ErrBufferFull):
			return &Break{Line: n, Why: "it is longer than any event"}
		case err != nil:
			return fmt.Errorf("cannot read the record: %w", err)
		}
		if why := v.line(text[:len(text)-1]); why != "" {
			return &Break{Line: n, Why: why}
		}
	}
}

// line takes the next line, or says why it cannot be the next.
func (v *verifier) line(text []byte) string {
	var e Event
	if err := json.Unmarshal(text, &e); err != nil || e.Seq == 0 {
		return "it is no event"
	}
	first := v.Lines == 0
	switch {
	case !first && e.Seq != v.Last+1:
		return fmt.Sprintf("it has the number %d, and the line before it %d", e.Seq, v.Last)
	case first && !v.anywhere && e.Seq != 1:
		return fmt.Sprintf("it has the number %d, and the file before it is gone", e.Seq)
	case e.Prev == "" && v.chained:
		return "it has no hash of the line before it"
	case e.Prev != "" && e.Seq == 1:
		return "it is the very first, and has the hash of another before it"
	case e.Prev != "" && !first && e.Prev != v.Hash:
		return "the line before it is not the one whose hash it has"
	}
	if first {
		v.First = e.Seq
	}
	if e.Prev == "" {
		v.bare++
	} else {
		v.chained = true
	}
	v.Lines, v.Last, v.Hash = v.Lines+1, e.Seq, hashLine(text)
	return ""
}
