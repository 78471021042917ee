package credential

import "bytes"

// matcher finds any of many byte strings in a stream, in one pass (Aho and Corasick, CACM 18(6), 1975), and looks at few
// bytes where none begins (Wu and Manber, TR-94-17, 1994). It is immutable. Its table has a column for each byte that
// occurs in a pattern and one for all others.
type matcher struct {
	column  [256]uint8
	columns int
	next    []int32 // by state times columns plus column; state 0 is the beginning
	found   []int32 // by state: which pattern ends there, or -1
	depth   []int32 // by state: how many bytes of some pattern it stands for
	length  []int   // by pattern
	// window is how many bytes every pattern has at least, and skips by how many a window may move on when it ends in those
	// two bytes: none of the patterns begins before.
	window int
	skips  [skipSize]uint8
}

const (
	maxWindow = 255 // what fits into a skip
	skipSize  = 1 << 12
)

// pair is two bytes as a number below skipSize.
func pair(a, b byte) int { return (int(a)<<4 ^ int(b)) & (skipSize - 1) }

// newMatcher makes a matcher of patterns; empty ones are never found. Of two that end at the same byte the longer is.
func newMatcher(patterns [][]byte) *matcher {
	m := &matcher{columns: 1}
	for _, p := range patterns {
		m.length = append(m.length, len(p))
		for _, b := range p {
			if m.column[b] == 0 && m.columns < 256 {
				m.column[b] = uint8(m.columns)
				m.columns++
			}
		}
	}
	m.addState(0)
	for i, p := range patterns {
		m.addPattern(i, p)
	}
	m.close()
	m.setSkips(patterns)
	return m
}

func (m *matcher) setSkips(patterns [][]byte) {
	m.window = maxWindow
	for _, p := range patterns {
		if len(p) > 0 {
			m.window = min(m.window, len(p))
		}
	}
	for i := range m.skips {
		m.skips[i] = uint8(m.window - 1)
	}
	for _, p := range patterns {
		for i := 1; i < min(m.window, len(p)); i++ {
			at := pair(p[i-1], p[i])
			m.skips[at] = min(m.skips[at], uint8(m.window-1-i))
		}
	}
}

// skip is the first place at or after i where a pattern may begin, or so near the end that this cannot be told.
func (m *matcher) skip(data []byte, i int) int {
	if m.window < 2 {
		return i
	}
	for end := i + m.window - 1; end < len(data); end = i + m.window - 1 {
		n := m.skips[pair(data[end-1], data[end])]
		if n == 0 {
			return i
		}
		i += int(n)
	}
	return i
}

func (m *matcher) addState(depth int32) int32 {
	state := int32(len(m.found))
	m.next = append(m.next, make([]int32, m.columns)...)
	m.found = append(m.found, -1)
	m.depth = append(m.depth, depth)
	return state
}

func (m *matcher) addPattern(i int, p []byte) {
	state := int32(0)
	for _, b := range p {
		at := int(state)*m.columns + int(m.column[b])
		if m.next[at] == 0 {
			added := m.addState(m.depth[state] + 1)
			m.next[at] = added
		}
		state = m.next[at]
	}
	if state != 0 && m.found[state] < 0 {
		m.found[state] = int32(i)
	}
}

// close turns the tree into an automaton, nearest states first: where no pattern goes on, it continues as the longest
// proper suffix does.
func (m *matcher) close() {
	suffix := make([]int32, len(m.found))
	var queue []int32
	for c := range m.columns {
		if s := m.next[c]; s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		shorter := suffix[state]
		if m.found[state] < 0 {
			m.found[state] = m.found[shorter]
		}
		for c := range m.columns {
			at, other := int(state)*m.columns+c, m.next[int(shorter)*m.columns+c]
			if s := m.next[at]; s != 0 {
				suffix[s] = other
				queue = append(queue, s)
			} else {
				m.next[at] = other
			}
		}
	}
}

// step is the state after b in state.
func (m *matcher) step(state int32, b byte) int32 {
	return m.next[int(state)*m.columns+int(m.column[b])]
}

// find returns the first pattern that ends in data, and where it ends, or -1. It starts in state and returns the one
// that it ended in, for what follows.
func (m *matcher) find(state int32, data []byte) (after int32, pattern, end int) {
	for i := 0; i < len(data); i++ {
		if state == 0 {
			if i = m.skip(data, i); i == len(data) {
				break
			}
		}
		state = m.step(state, data[i])
		if p := m.found[state]; p >= 0 {
			return state, int(p), i + 1
		}
	}
	return state, -1, len(data)
}

// replacer writes a stream with every pattern replaced, and holds back only what may be the beginning of one.
type replacer struct {
	m     *matcher
	with  [][]byte // by pattern
	state int32
	held  []byte // the state's own bytes
}

// write appends to out what of data, after what was held, can be told now. It reports whether something was replaced.
func (r *replacer) write(out *bytes.Buffer, data []byte) (replaced bool) {
	for len(data) > 0 {
		state, pattern, end := r.m.find(r.state, data)
		r.held = append(r.held, data[:end]...)
		data = data[end:]
		keep := int(r.m.depth[state])
		if pattern >= 0 {
			keep = r.m.length[pattern]
		}
		out.Write(r.held[:len(r.held)-keep])
		r.held = append(r.held[:0], r.held[len(r.held)-keep:]...)
		r.state = state
		if pattern >= 0 {
			out.Write(r.with[pattern])
			r.held, r.state, replaced = r.held[:0], 0, true
		}
	}
	return replaced
}

// end appends what was held: no more is to come.
func (r *replacer) end(out *bytes.Buffer) {
	out.Write(r.held)
	r.held, r.state = r.held[:0], 0
}
