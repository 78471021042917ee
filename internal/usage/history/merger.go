package history

// merger keeps one entry of each call, as ccusage does. Two entries are of the same call when the message and the request
// are the same, a request that is missing in both included; an entry without a message is a call of its own. When either of
// two is of a side conversation, the message alone decides, as these replay the messages of their parent under requests
// of their own. Of several, one that is not of a side conversation wins, then the one with most tokens, which an answer has
// at its end, then one that tells the speed, then the first.
type merger struct {
	entries []claudeEntry
	exact   map[exactKey]int32
	// first is where the first entry of a message is. No other can be of a side conversation: it would have been taken for
	// the first.
	first map[string]int32
}

type exactKey struct {
	message, request string
	requested        bool
}

func newMerger() *merger {
	return &merger{exact: map[exactKey]int32{}, first: map[string]int32{}}
}

// push says whether e is of a call that was not there.
func (m *merger) push(e claudeEntry) bool {
	if e.message == "" {
		m.entries = append(m.entries, e)
		return true
	}
	key := keyOf(e)
	at, known := m.exact[key]
	known = known && keyOf(m.entries[at]) == key
	if !known {
		at, known = m.first[e.message]
		known = known && (e.sidechain || m.entries[at].sidechain)
	}
	if known {
		if e.wins(m.entries[at]) {
			m.entries[at] = e
			m.exact[key] = at
		}
		return false
	}
	at = int32(len(m.entries))
	m.entries = append(m.entries, e)
	m.exact[key] = at
	if _, ok := m.first[e.message]; !ok {
		m.first[e.message] = at
	}
	return true
}

func keyOf(e claudeEntry) exactKey { return exactKey{e.message, e.request, e.requested} }

func (e claudeEntry) wins(over claudeEntry) bool {
	if e.sidechain != over.sidechain {
		return over.sidechain
	}
	if a, b := e.tokens.Total(), over.tokens.Total(); a != b {
		return a > b
	}
	return e.hasSpeed && !over.hasSpeed
}
