package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// ErrDamaged is what Events yields in the place of a line that is no event.
var ErrDamaged = errors.New("a line of the record is damaged")

// Events yields the events of a record's files, the oldest first, each once though a rotation may have put it into
// two of them. Half a line at the end, which may be one that is being written, is left out. It goes on behind a
// damaged line; any other error is the last that it yields. It holds one line at a time.
func Events(files ...io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var last uint64
		for _, file := range files {
			if !events(file, &last, yield) {
				return
			}
		}
	}
}

// events returns whether to go on.
func events(file io.Reader, last *uint64, yield func(Event, error) bool) bool {
	in := bufio.NewReaderSize(file, MaxLine+1)
	long := false // the line at hand is longer than any event
	for {
		text, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = true
			continue
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			yield(Event{}, fmt.Errorf("cannot read the record: %w", err))
			return false
		}
		var e Event
		switch {
		case long || json.Unmarshal(text, &e) != nil || e.Seq == 0:
			if !yield(Event{}, ErrDamaged) {
				return false
			}
		case e.Seq > *last:
			*last = e.Seq
			if !yield(e, nil) {
				return false
			}
		}
		long = false
	}
}
