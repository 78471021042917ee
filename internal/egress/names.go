package egress

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// maxNames bounds the table. Under a wildcard rule the sandbox can make up names without end.
const maxNames = 1 << 16

// firstOffset keeps the /24 of the link out of the made-up addresses.
const firstOffset = 256

// nameTable gives every allowed name that was asked for an address of its own out of
// gateway.Synthetic, and knows the name again by the address. Entries are never dropped, so an address
// means the same for as long as the sandbox runs. The zero table is empty.
type nameTable struct {
	mu    sync.Mutex
	index map[hostname.Name]uint32
	names []hostname.Name // position + firstOffset is the address within the prefix
}

// addr returns the address of name, and false when the table is full.
func (t *nameTable) addr(name hostname.Name) (netip.Addr, bool) {
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
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], prefixBase()+firstOffset+i)
	return netip.AddrFrom4(b), true
}

// name returns what addr was made up for, "" when it was not.
func (t *nameTable) name(addr netip.Addr) hostname.Name {
	if !addr.Is4() {
		return ""
	}
	b := addr.As4()
	// An address below the prefix wraps round to a huge offset.
	offset := binary.BigEndian.Uint32(b[:]) - prefixBase()
	t.mu.Lock()
	defer t.mu.Unlock()
	if offset < firstOffset || uint64(offset) >= firstOffset+uint64(len(t.names)) {
		return ""
	}
	return t.names[offset-firstOffset]
}

func prefixBase() uint32 {
	b := netip.MustParsePrefix(gateway.Synthetic).Addr().As4()
	return binary.BigEndian.Uint32(b[:])
}
