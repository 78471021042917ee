package gitpush

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/zlib"
	"crypto/sha1" // #nosec G505 -- git's names of objects
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

const (
	// maxObjects is how many objects a pack may have.
	maxObjects = 500_000
	// maxInflated bounds the work that a pack can be, in bytes of its objects.
	maxInflated = 16 << 30
	// maxKept bounds what is kept of commits and trees, in bytes; what is beyond cannot be told.
	maxKept = 128 << 20
	// maxObject is the largest commit or tree, and the largest delta of one, in bytes.
	maxObject = 16 << 20
)

// The types of objects in a pack.
const (
	kindUnknown = 0 // of an object that is not here
	kindCommit  = 1
	kindTree    = 2
	kindBlob    = 3
	kindTag     = 4
	kindOffset  = 6 // a delta of an object so many bytes before
	kindRef     = 7 // a delta of an object by its name
)

var errPack = errors.New("the push has a pack that is damaged")

// pack is what is known of a pack's commits and trees.
type pack struct {
	commits map[string][]byte
	trees   map[string][]byte
	opaque  bool // an object is a change of one that is not here, or there was too much
}

// object is one of a pack, as a later one may build on it.
type object struct {
	kind int
	text []byte // of commits and trees
}

// packReader counts what it has read, and gives single bytes, so that a decompressor takes none too many.
type packReader struct {
	*bufio.Reader
	n int64
}

func (r *packReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	return n, err
}

func (r *packReader) ReadByte() (byte, error) {
	b, err := r.Reader.ReadByte()
	if err == nil {
		r.n++
	}
	return b, err
}

// ReadPack reads the pack, which follows the commands unless all of them delete, up to the end of r.
func (p *Push) ReadPack(r *bufio.Reader) error {
	p.pack = &pack{commits: map[string][]byte{}, trees: map[string][]byte{}}
	if _, err := r.Peek(1); err == io.EOF {
		return nil
	}
	in := &packReader{Reader: r}
	var head [12]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return short(err)
	}
	version, count := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:])
	switch {
	case string(head[:4]) != "PACK" || version != 2 && version != 3:
		return errPack
	case count > maxObjects:
		return fmt.Errorf("the push has more than %d objects", maxObjects)
	}
	scan := &scan{in: in, pack: p.pack, sha256: p.idSize == sha256.Size, idSize: p.idSize, at: map[int64]object{}}
	for range count {
		if err := scan.object(); err != nil {
			return err
		}
	}
	trailer := make([]byte, p.idSize) // the server checks it
	if _, err := io.ReadFull(in, trailer); err != nil {
		return short(err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		if err == nil {
			err = errors.New("the push goes on behind its pack")
		}
		return err
	}
	return nil
}

// short is err for a pack that ends too early.
func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errPack
	}
	return err
}

// scan reads one object after the other.
type scan struct {
	in     *packReader
	pack   *pack
	sha256 bool
	idSize int
	at     map[int64]object // by where it starts
	kept   int
	work   int64 // bytes inflated
	zlib   io.ReadCloser
}

func (s *scan) object() error {
	start := s.in.n
	kind, err := s.kind()
	if err != nil {
		return short(err)
	}
	base := object{kind: kind}
	switch kind {
	case kindCommit, kindTree, kindBlob, kindTag:
	case kindOffset:
		back, err := s.offset()
		if err != nil {
			return short(err)
		}
		var here bool
		if base, here = s.at[start-back]; !here || back <= 0 {
			return errPack
		}
	case kindRef:
		id := make([]byte, s.idSize)
		if _, err := io.ReadFull(s.in, id); err != nil {
			return short(err)
		}
		base = s.named(hex.EncodeToString(id))
	default:
		return errPack
	}
	text, err := s.inflate(base.kind == kindCommit || base.kind == kindTree)
	if err != nil {
		return err
	}
	if kind == kindOffset || kind == kindRef {
		text, err = s.patched(base, text)
		if err != nil {
			return err
		}
	}
	s.keep(start, object{base.kind, text})
	return nil
}

// patched is the object that delta makes of base. Of one whose text is not known nothing is.
func (s *scan) patched(base object, delta []byte) ([]byte, error) {
	if base.text == nil || delta == nil {
		return nil, nil
	}
	return patch(base.text, delta)
}

// named is the commit or tree of that name. Of anything else here, as of what only the server has, nothing is known.
func (s *scan) named(id string) object {
	if text, ok := s.pack.commits[id]; ok {
		return object{kindCommit, text}
	}
	if text, ok := s.pack.trees[id]; ok {
		return object{kindTree, text}
	}
	s.pack.opaque = true
	return object{kind: kindUnknown}
}

func (s *scan) keep(start int64, o object) {
	s.at[start] = object{kind: o.kind}
	if o.kind != kindCommit && o.kind != kindTree {
		return
	}
	if s.kept += len(o.text); o.text == nil || s.kept > maxKept {
		s.pack.opaque = true
		return
	}
	s.at[start] = o
	id := s.id(o)
	if o.kind == kindCommit {
		s.pack.commits[id] = o.text
	} else {
		s.pack.trees[id] = o.text
	}
}

// id is the object's name.
func (s *scan) id(o object) string {
	var h hash.Hash = sha1.New() // #nosec G401
	if s.sha256 {
		h = sha256.New()
	}
	fmt.Fprintf(h, "%s %d\x00", map[int]string{kindCommit: "commit", kindTree: "tree"}[o.kind], len(o.text))
	h.Write(o.text)
	return hex.EncodeToString(h.Sum(nil))
}

// kind reads an object's type, and its size, which the data tells again.
func (s *scan) kind() (int, error) {
	b, err := s.in.ReadByte()
	if err != nil {
		return 0, err
	}
	kind := int(b >> 4 & 7)
	for n := 0; b&0x80 != 0; n++ {
		if b, err = s.in.ReadByte(); err != nil {
			return 0, err
		}
		if n > 9 {
			return 0, errPack
		}
	}
	return kind, nil
}

// offset reads how far back the base of a delta starts.
func (s *scan) offset() (int64, error) {
	b, err := s.in.ReadByte()
	if err != nil {
		return 0, err
	}
	back := int64(b & 0x7f)
	for n := 0; b&0x80 != 0; n++ {
		if b, err = s.in.ReadByte(); err != nil {
			return 0, err
		}
		if n > 7 {
			return 0, errPack
		}
		back = (back+1)<<7 | int64(b&0x7f)
	}
	return back, nil
}

// inflate reads an object's data, and returns it if it is wanted and not too large.
func (s *scan) inflate(wanted bool) ([]byte, error) {
	var err error
	if s.zlib == nil {
		s.zlib, err = zlib.NewReader(s.in)
	} else {
		err = s.zlib.(zlib.Resetter).Reset(s.in, nil)
	}
	if err != nil {
		return nil, notOurs(err)
	}
	var text bytes.Buffer
	if wanted {
		if _, err := text.ReadFrom(io.LimitReader(s.zlib, maxObject+1)); err != nil {
			return nil, notOurs(err)
		}
	}
	rest, err := io.Copy(io.Discard, io.LimitReader(s.zlib, maxInflated+1))
	s.work += rest + int64(text.Len())
	switch {
	case err != nil:
		return nil, notOurs(err)
	case s.work > maxInflated:
		return nil, errors.New("the push is too large")
	case !wanted:
		return nil, nil
	case rest > 0 || text.Len() > maxObject:
		s.pack.opaque = true
		return nil, nil
	}
	return append([]byte{}, text.Bytes()...), nil
}

// notOurs is the decompressor's error for what is no pack, and the reader's for what could not be read.
func notOurs(err error) error {
	if errors.Is(err, zlib.ErrHeader) || errors.Is(err, zlib.ErrChecksum) || errors.Is(err, zlib.ErrDictionary) || err == io.EOF || err == io.ErrUnexpectedEOF {
		return errPack
	}
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) {
		return errPack
	}
	return err
}

// patch makes an object of another and a delta (gitformat-pack, "Deltified representation").
func patch(base, delta []byte) ([]byte, error) {
	from, n := binary.Uvarint(delta)
	if n <= 0 || from != uint64(len(base)) {
		return nil, errPack
	}
	delta = delta[n:]
	size, n := binary.Uvarint(delta)
	if n <= 0 || size > maxObject {
		return nil, errPack
	}
	out := make([]byte, 0, size)
	for delta = delta[n:]; len(delta) > 0; {
		op := delta[0]
		delta = delta[1:]
		if op&0x80 == 0 { // insert
			if op == 0 || int(op) > len(delta) || uint64(len(out)+int(op)) > size {
				return nil, errPack
			}
			out, delta = append(out, delta[:op]...), delta[op:]
			continue
		}
		var where [7]byte // four of the offset, three of the length
		for i := range where {
			if op>>i&1 == 1 {
				if len(delta) == 0 {
					return nil, errPack
				}
				where[i], delta = delta[0], delta[1:]
			}
		}
		at := uint64(where[0]) | uint64(where[1])<<8 | uint64(where[2])<<16 | uint64(where[3])<<24
		length := uint64(where[4]) | uint64(where[5])<<8 | uint64(where[6])<<16
		if length == 0 {
			length = 0x10000
		}
		if at+length > uint64(len(base)) || uint64(len(out))+length > size {
			return nil, errPack
		}
		out = append(out, base[at:at+length]...)
	}
	if uint64(len(out)) != size {
		return nil, errPack
	}
	return out, nil
}
