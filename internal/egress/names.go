package egress

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/hostname"
)

const (
	// maxNames bounds the names that keep their address. Under a wildcard rule the sandbox can make up names
	// without end.
	maxNames = 1 << 16
	// maxLent bounds the names that are refused, and have an address only to be told so.
	maxLent = 1 << 12
	// firstOffset keeps the /24 of the link out of the made-up addresses.
	firstOffset = 256
	// lentOffset is where the lent addresses begin, behind all that are kept.
	lentOffset = firstOffset + maxNames
)

// nameTable gives names addresses of their own out of gateway.Synthetic, and knows the name again by the
// address. A name that is allowed keeps its address for as long as the sandbox runs. One that is refused is
// lent an address out of a block apart, where the oldest makes room for the next: a flood of names takes
// nothing from those that are allowed. Whatever a program remembers, an address means what the table says now.
// The zero table is empty.
type nameTable struct {
	mu    sync.Mutex
	index map[hostname.Name]uint32
	names []hostname.Name // position + firstOffset is the address within the prefix

	lentIndex map[hostname.Name]uint32
	lent      []hostname.Name // position + lentOffset is the address
	oldest    uint32          // position in lent that is taken next, when all are
}

// keep returns the address of name for good, and false when the table is full.
func (t *nameTable) keep(name hostname.Name) (netip.Addr, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, known := t.index[name]
	if !known {
		if len(t.names) >= maxNames {
			return netip.Addr{}, false
		}
		if t.index == nil {
			t.index = map[hostname.Name]uint32{}
		}
		i = uint32(len(t.names))
		t.index[name] = i
		t.names = append(t.names, name)
	}
	return synthetic(firstOffset + i), true
}

// lend returns an address of name's, the one that it keeps or one for a while, and whether it had that already.
func (t *nameTable) lend(name hostname.Name) (addr netip.Addr, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, kept := t.index[name]; kept {
		return synthetic(firstOffset + i), true
	}
	if i, lent := t.lentIndex[name]; lent {
		return synthetic(lentOffset + i), true
	}
	if t.lentIndex == nil {
		t.lentIndex = map[hostname.Name]uint32{}
	}
	i := uint32(len(t.lent))
	if i < maxLent {
		t.lent = append(t.lent, name)
	} else {
		i = t.oldest
		t.oldest = (t.oldest + 1) % maxLent
		delete(t.lentIndex, t.lent[i])
		t.lent[i] = name
	}
	t.lentIndex[name] = i
	return synthetic(lentOffset + i), false
}

// name returns what addr was made up for, "" when it was not.
func (t *nameTable) name(addr netip.Addr) hostname.Name {
	if !addr.Is4() {
		return ""
	}
	b := addr.As4()
	// An address below the prefix wraps round to a huge offset.
	offset := uint64(binary.BigEndian.Uint32(b[:]) - prefixBase())
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case offset >= lentOffset && offset < lentOffset+uint64(len(t.lent)):
		return t.lent[offset-lentOffset]
	case offset >= firstOffset && offset < firstOffset+uint64(len(t.names)):
		return t.names[offset-firstOffset]
	}
	return ""
}

// synthetic is the address at that offset within the prefix.
func synthetic(offset uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], prefixBase()+offset)
	return netip.AddrFrom4(b)
}

func prefixBase() uint32 {
	b := netip.MustParsePrefix(gateway.Synthetic).Addr().As4()
	return binary.BigEndian.Uint32(b[:])
}

// isPublicKind says whether name looks like one of the internet's, which a refusal may be shown for. The others
// mean something else to those who ask: a search list's rest (RFC 1535), reverse look-ups, mDNS (RFC 6762), Tor
// (RFC 7686), and what must not exist (RFC 6761 section 6.4).
func isPublicKind(name hostname.Name) bool {
	i := strings.LastIndexByte(string(name), '.')
	switch name[i+1:] {
	case "arpa", "local", "onion", "invalid":
		return false
	}
	return i > 0
}
