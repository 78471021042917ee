package workspace

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
)

// errNoIndex: git surely does not read it. errIndex: bailey cannot be sure what git reads in it.
var (
	errNoIndex = errors.New("it is no git index")
	errIndex   = errors.New("it is no plain git index")
)

// gitIndex is what counts of a git index.
type gitIndex struct {
	links  []string // paths that are recorded as repositories (gitlinks), as they are written there
	shared string   // the name of the file with the rest of a split index, ""
}

// readIndex reads a git index, versions 2 to 4 (gitformat-index(5)), with object names of hash bytes. It refuses
// what makes git's several ways through an index see different entries. What the collapsed directories of a
// sparse index contain is not in it.
func readIndex(data []byte, hash int) (idx gitIndex, err error) {
	const head = 12
	if len(data) < head+hash || string(data[:4]) != "DIRC" {
		return gitIndex{}, errNoIndex
	}
	version, count := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	if version < 2 || version > 4 {
		return gitIndex{}, errNoIndex
	}
	body := data[:len(data)-hash]
	at := head
	var name []byte
	var starts []int
	for range count {
		starts = append(starts, at)
		var link bool
		if name, link, at, err = readEntry(body, at, version, hash, name); err != nil {
			return gitIndex{}, err
		}
		if link && len(name) == 0 {
			return gitIndex{}, errIndex // of a split index, whose other file has the path
		}
		if link {
			idx.links = append(idx.links, string(name))
		}
	}
	idx.shared, err = readExtensions(body, at, hash, append(starts, at))
	return idx, err
}

// readEntry reads the entry at the offset at. Its path is in last's memory, which holds the path before.
func readEntry(body []byte, at int, version uint32, hash int, last []byte) (name []byte, link bool, next int, err error) {
	const modeAt, statSize, extended = 24, 40, 0x4000
	start := at
	at += statSize + hash + 2
	if at > len(body) {
		return nil, false, 0, errIndex
	}
	if binary.BigEndian.Uint16(body[at-2:])&extended != 0 && version >= 3 {
		at += 2
	}
	keep := 0
	if version == 4 {
		strip, size := readVarint(body[min(at, len(body)):])
		if size == 0 || strip > len(last) {
			return nil, false, 0, errIndex
		}
		at += size
		keep = len(last) - strip
	}
	length := bytes.IndexByte(body[min(at, len(body)):], 0)
	if length < 0 {
		return nil, false, 0, errIndex
	}
	name = append(last[:keep], body[at:at+length]...)
	at += length + 1
	if version < 4 { // one to eight zero bytes, of which one was counted
		at += 7 - (at-1-start)%8
	}
	mode := binary.BigEndian.Uint32(body[start+modeAt:])
	return name, mode&0o170000 == 0o160000, at, nil
}

// readVarint reads a number as in the offsets of pack files (gitformat-pack(5)); size is 0 where there is none.
func readVarint(b []byte) (n, size int) {
	for i, c := range b[:min(len(b), 4)] {
		n |= int(c & 0x7f)
		if c&0x80 == 0 {
			return n, i + 1
		}
		n = (n + 1) << 7
	}
	return 0, 0
}

// readExtensions finds the name of a split index's other file, and checks the tables by which git finds its way
// with several threads: they must say what stands there. The entries start at starts, the extensions at the last.
func readExtensions(body []byte, at, hash int, starts []int) (shared string, err error) {
	end := func(b []byte) bool { // EOIE: where the extensions start
		return len(b) == 4+hash && int(binary.BigEndian.Uint32(b)) == at
	}
	ext := at
	for ext+8 <= len(body) {
		size := int(binary.BigEndian.Uint32(body[ext+4:]))
		name, content := string(body[ext:ext+4]), body[ext+8:]
		if size > len(content) {
			return "", errIndex
		}
		content = content[:size]
		ext += 8 + size
		switch {
		case name == "EOIE" && !end(content), name == "IEOT" && !isTable(content, starts):
			return "", errIndex
		case name == "link" && size >= hash:
			shared = "sharedindex." + hex.EncodeToString(content[:hash])
		}
	}
	// Git looks for EOIE here, whatever it is a part of.
	if tail := len(body) - (8 + 4 + hash); tail >= at && string(body[tail:tail+4]) == "EOIE" && !end(body[tail+8:]) {
		return "", errIndex
	}
	return shared, nil
}

// isTable reports whether b, the content of IEOT, names blocks of entries that follow one another from start to end.
func isTable(b []byte, starts []int) bool {
	if len(b) < 4 || len(b)%8 != 4 || binary.BigEndian.Uint32(b) != 1 {
		return false
	}
	entry := 0
	for block := range slices.Chunk(b[4:], 8) {
		if entry >= len(starts) || int(binary.BigEndian.Uint32(block)) != starts[entry] {
			return false
		}
		entry += int(binary.BigEndian.Uint32(block[4:]))
	}
	return entry == len(starts)-1
}
