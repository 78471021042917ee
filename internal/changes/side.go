package changes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/beneath"
)

// side is one of the two trees.
type side struct {
	tree  *beneath.Tree
	layer bool // an overlay's upper layer: it has words for what is gone
}

func openSide(dir string, layer bool) (*side, error) {
	tree, err := beneath.OpenOne(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot compare: %w", err)
	}
	return &side{tree, layer}, nil
}

// At reads one entry of an overlay's layer: nothing for what is gone or was never there.
func At(ctx context.Context, layer *beneath.Tree, rel string) Entry {
	s := side{layer, true}
	e, _ := s.entry(ctx, rel)
	return e
}

// list is the names in the directory rel, none if it cannot be read: its entry says so.
func (s *side) list(rel string) ([]string, error) {
	entries, err := s.tree.ReadDir(rel)
	if err != nil && rel == "." {
		return nil, fmt.Errorf("cannot compare: %w", err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// entry reads what rel is. opaque is for a directory of a layer that hides the one below it.
func (s *side) entry(ctx context.Context, rel string) (e Entry, opaque bool) {
	info, err := s.tree.Lstat(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return Entry{}, false
	case err != nil:
		return unreadable(err), false
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return s.file(ctx, rel), false
	case mode.IsDir():
		return s.dir(rel)
	case mode&fs.ModeSymlink != 0:
		text, err := s.tree.Readlink(rel)
		if err != nil {
			return unreadable(err), false
		}
		return stamp(Entry{Kind: Link, Target: text}, info), false
	case s.layer && Whiteout(info):
		return Entry{}, false
	default:
		return stamp(Entry{Kind: Special, Mode: permissions(mode), Why: word(mode)}, info), false
	}
}

func (s *side) file(ctx context.Context, rel string) Entry {
	f, err := s.tree.Open(rel)
	if err != nil {
		return unreadable(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return Entry{Kind: Unreadable, Why: "it changes while it is read"}
	}
	hash := sha256.New()
	n, err := io.Copy(hash, &cancellable{ctx, f})
	if err != nil {
		return unreadable(err)
	}
	e := Entry{Kind: File, Mode: permissions(info.Mode()), Size: n, Digest: hex.EncodeToString(hash.Sum(nil))}
	e = stamp(e, info)
	e.Born = born(f)
	return e
}

// dir looks into the directory only as far as to know that it can be looked into.
func (s *side) dir(rel string) (e Entry, opaque bool) {
	d, err := s.tree.Open(rel)
	if err != nil {
		return unreadable(err), false
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil || !info.IsDir() {
		return Entry{Kind: Unreadable, Why: "it changes while it is read"}, false
	}
	if _, err := d.ReadDir(1); err != nil && err != io.EOF {
		return unreadable(err), false
	}
	if s.layer {
		if opaque, err = Opaque(d); err != nil {
			return unreadable(err), false
		}
	}
	return stamp(Entry{Kind: Dir, Mode: permissions(info.Mode())}, info), opaque
}

// unreadable words an error without the path, which is said beside it.
func unreadable(err error) Entry {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, syscall.EXDEV) {
		err = errors.New("another file system is mounted there")
	}
	return Entry{Kind: Unreadable, Why: err.Error()}
}

// permissions are mode's bits as chmod(2) takes them.
func permissions(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: syscall.S_ISUID, fs.ModeSetgid: syscall.S_ISGID, fs.ModeSticky: syscall.S_ISVTX} {
		if mode&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

func word(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "fifo"
	case mode&fs.ModeSocket != 0:
		return "socket"
	default:
		return "device"
	}
}

// cancellable stops reading a large file when ctx ends.
type cancellable struct {
	ctx context.Context
	f   *os.File
}

func (c *cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.f.Read(p)
}
