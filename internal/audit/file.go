package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// MaxLine exceeds the longest line: ten strings of maxText bytes, each byte at most six when escaped,
	// the hash, and the numbers.
	MaxLine = 64 << 10
	// tail is how much of a file's end is read to find its last event: a torn line may stand behind it.
	tail = 2 * MaxLine
)

// PreviousSuffix names the older half of a record, beside its path.
const PreviousSuffix = ".1"

// File is a Sink of JSON lines, one write each, so that a reader never sees a torn line of a live file.
// One process at a time may have it open; the sandbox's lock sees to that.
type File struct {
	path  string
	limit int64

	mu     sync.Mutex
	file   *os.File
	size   int64
	closed bool
	torn   bool   // behind size is half a line that could not be removed
	seq    uint64 // of the last line
	hash   string // of the last line, "" before the first
}

// OpenFile opens or creates the record at path, mode 0600, and continues its numbers and hashes. When a line
// would make the file larger than limit bytes the file becomes path.1, replacing the one before, so the
// record takes at most twice limit. A torn last line, left by a power cut, is removed: its Record never
// returned. The caller closes the File.
func OpenFile(path string, limit int64) (*File, error) {
	if limit <= 0 {
		return nil, fmt.Errorf("cannot open record %s: its size limit is not positive", path)
	}
	f := &File{path: path, limit: limit}
	file, err := openRecord(path)
	if err != nil {
		return nil, err
	}
	f.file = file
	if err := f.resume(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot continue record %s: %w", path, err), file.Close())
	}
	return f, nil
}

// openRecord opens without following a link and without waiting for a FIFO's other end.
func openRecord(path string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_APPEND | os.O_CREATE | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open record: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil && info.Mode().Perm() != 0o600 {
		err = file.Chmod(0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open record: %w", err), file.Close())
	}
	return file, nil
}

// resume finds the last event and removes what was torn behind it.
func (f *File) resume() error {
	var err error
	if f.seq, f.hash, f.size, err = lastEvent(f.file); err != nil {
		return err
	}
	if err := f.file.Truncate(f.size); err != nil {
		return err
	}
	if f.size > 0 {
		return nil
	}
	// The process may have died between the two steps of a rotation.
	old, err := os.OpenFile(f.rotated(), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer old.Close()
	f.seq, f.hash, _, err = lastEvent(old)
	return err
}

// lastEvent returns the number and the hash of the last whole event and the offset behind its line.
func lastEvent(file *os.File) (seq uint64, hash string, end int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, "", 0, err
	}
	start := max(0, info.Size()-tail)
	buf := make([]byte, info.Size()-start)
	if _, err := file.ReadAt(buf, start); err != nil && len(buf) > 0 {
		return 0, "", 0, err
	}
	// A file that holds no more than a torn first line starts anew.
	if start == 0 && !bytes.Contains(buf, []byte{'\n'}) {
		return 0, "", 0, nil
	}
	for end := bytes.LastIndexByte(buf, '\n'); end >= 0; end = bytes.LastIndexByte(buf[:end], '\n') {
		var e Event
		text := buf[bytes.LastIndexByte(buf[:end], '\n')+1 : end]
		if json.Unmarshal(text, &e) == nil && e.Seq > 0 {
			return e.Seq, hashLine(text), start + int64(end) + 1, nil
		}
	}
	return 0, "", 0, errors.New("its end holds no event")
}

// Record numbers e, joins it to the line before, dates it if it has no time, and writes it.
func (f *File) Record(e Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("cannot record event: %w", os.ErrClosed) // a rotation would open it again
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	e.Seq, e.Prev = f.seq+1, f.hash
	text, err := line(e)
	if err != nil {
		return err
	}
	if err := f.mend(); err != nil {
		return err
	}
	if f.size > 0 && f.size+int64(len(text)) > f.limit {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if n, err := f.file.Write(text); err != nil {
		if n > 0 {
			// The disk filled within the line. Without its beginning the next one is whole again.
			f.torn = true
			err = errors.Join(err, f.mend())
		}
		return fmt.Errorf("cannot record event: %w", err)
	}
	f.seq, f.hash, f.size = e.Seq, hashLine(text[:len(text)-1]), f.size+int64(len(text))
	return nil
}

// mend removes half a line, before another one becomes its second half.
func (f *File) mend() error {
	if !f.torn {
		return nil
	}
	if err := f.file.Truncate(f.size); err != nil {
		return fmt.Errorf("cannot mend the record: %w", err)
	}
	f.torn = false
	return nil
}

// rotate may be called again after it failed half-way.
func (f *File) rotate() error {
	if err := os.Rename(f.path, f.rotated()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot rotate record: %w", err)
	}
	file, err := openRecord(f.path)
	if err != nil {
		return err
	}
	_ = f.file.Close()
	f.file, f.size = file, 0
	return nil
}

func (f *File) rotated() string { return f.path + PreviousSuffix }

// Close ends the record. A Record after it fails.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.file.Close()
}
