package history

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
)

// partSize is how much of a log is looked at in one piece: enough to be read fast, and little enough that the pieces of one
// large log keep every core busy.
const partSize = 4 << 20

// part is a piece of a log: the lines that begin in it.
type part struct {
	file
	from, to int64
}

func (f file) parts() []part {
	var all []part
	for from := int64(0); from < f.size; from += partSize {
		all = append(all, part{f, from, min(from+partSize, f.size)})
	}
	return all
}

// read returns the whole lines that begin in the part, in buf or a larger one that takes its place. A line that is longer
// than maxLine is left out and counted.
func (p part) read(from *os.File, buf []byte) (text, kept []byte, long int, err error) {
	// The byte before says whether a line begins right here.
	start := max(p.from-1, 0)
	if int64(cap(buf)) < p.to-start {
		buf = make([]byte, p.to-start, 2*partSize)
	}
	n, err := from.ReadAt(buf[:p.to-start], start)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, buf, 0, err
	}
	text = buf[:n]
	begin := 0
	if p.from > 0 {
		if begin = bytes.IndexByte(text, '\n') + 1; begin == 0 {
			return nil, buf, 0, nil
		}
	}
	last := max(bytes.LastIndexByte(text, '\n')+1, begin)
	for last < len(text) && len(text)-last <= maxLine {
		more := len(text)
		text = append(text, make([]byte, 256<<10)...)
		n, err := from.ReadAt(text[more:], start+int64(more))
		text = text[:more+n]
		if end := bytes.IndexByte(text[more:], '\n'); end >= 0 {
			text = text[:more+end+1]
			break
		}
		if err != nil {
			break // the last line of a log may have no end, when it is being written
		}
	}
	if len(text)-last > maxLine {
		return text[begin:last], text, 1, nil
	}
	return text[begin:], text, 0, nil
}

// lines gives every line of the text in which one of the markers occurs to each. Most lines have none, and are passed
// over at the speed of memory. A line has its end.
func lines(text []byte, each func(line []byte), markers ...string) {
	for _, marker := range markers[1:] {
		if bytes.Contains(text, []byte(marker)) {
			everyLine(text, each, markers)
			return
		}
	}
	marker := []byte(markers[0])
	for {
		found := bytes.Index(text, marker)
		if found < 0 {
			return
		}
		begin, end := 0, 0
		// Going forward from line to line is faster than looking back for where this one begins.
		for end <= found {
			begin = end
			if n := bytes.IndexByte(text[begin:], '\n'); n >= 0 {
				end = begin + n + 1
			} else {
				end = len(text)
			}
		}
		each(text[begin:end])
		text = text[end:]
	}
}

func everyLine(text []byte, each func(line []byte), markers []string) {
	for line := range bytes.Lines(text) {
		for _, marker := range markers {
			if bytes.Contains(line, []byte(marker)) {
				each(line)
				break
			}
		}
	}
}

// inOrder does something with every item on all cores, and takes the outcomes in the order of the items until take returns
// false. Only a few outcomes wait at a time. Each core has a buffer of its own.
func inOrder[I, O any](items []I, do func(item I, buf *[]byte) O, take func(O) bool) {
	type job struct {
		item I
		out  chan O
	}
	cores := runtime.GOMAXPROCS(0)
	jobs, waiting, stop := make(chan job), make(chan chan O, 4*cores), make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		defer close(jobs)
		defer close(waiting)
		for _, item := range items {
			out := make(chan O, 1)
			select {
			case waiting <- out:
				jobs <- job{item, out}
			case <-stop:
				return
			}
		}
	})
	for range cores {
		running.Go(func() {
			var buf []byte
			for j := range jobs {
				j.out <- do(j.item, &buf)
			}
		})
	}
	for out := range waiting {
		if !take(<-out) {
			close(stop)
			break
		}
	}
	running.Wait()
}
