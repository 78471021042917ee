package history

// merger keeps one entry of each call, as ccusage does. Two entries are of the same call when the message and the request
// are the same, and where a request is missing in both, session and time too, as there are gateways that number the
// messages of every answer anew. An entry without a message is a call of its own. When either of two is of a side
// conversation, message and session alone decide, as these replay the messages of their parent under requests of their
// own; the session of an entry that did not count does so, too. Of several, one that is not of a side conversation wins,
// then the one with most tokens, which an answer has at its end, then one that tells the speed, then the first.
type merger struct {
	entries []claudeEntry
	exact   map[exactKey]int32
	first   map[spoken]int32   // the first entry of a message in a session, whichever has taken its place since
	aside   map[spoken][]int32 // those of side conversations; some may have given place to their parent
}

type exactKey struct {
	message, request string
	requested        bool
	session          string // unless a request was told, and
	time             int64  // likewise
}

type spoken struct{ message, session string }

func newMerger() *merger {
	return &merger{exact: map[exactKey]int32{}, first: map[spoken]int32{}, aside: map[spoken][]int32{}}
}

// push says whether e is of a call that was not there.
func (m *merger) push(e claudeEntry) bool {
	if e.message == "" {
		m.entries = append(m.entries, e)
		return true
	}
	at, known := m.find(e)
	switch {
	case !known:
		at = int32(len(m.entries))
		m.entries, m.exact[e.key()] = append(m.entries, e), at
	case e.wins(m.entries[at]):
		m.entries[at], m.exact[e.key()] = e, at
	}
	// Also an entry that does not count says where others of its kind belong.
	if _, ok := m.first[e.spoken()]; !ok {
		m.first[e.spoken()] = at
	}
	if list := m.aside[e.spoken()]; m.entries[at].sidechain && (len(list) == 0 || list[len(list)-1] != at) {
		m.aside[e.spoken()] = append(list, at)
	}
	return !known
}

// find is where an entry of the same call is.
func (m *merger) find(e claudeEntry) (at int32, ok bool) {
	if at, ok = m.exact[e.key()]; ok && m.entries[at].key() == e.key() {
		return at, true
	}
	if e.sidechain {
		at, ok = m.first[e.spoken()]
		return at, ok
	}
	list := m.aside[e.spoken()]
	// What gave place never comes back, and a log made for it must not have it looked at again and again.
	for len(list) > 0 && !m.entries[list[0]].sidechain {
		list = list[1:]
	}
	if len(list) == 0 {
		delete(m.aside, e.spoken())
		return 0, false
	}
	m.aside[e.spoken()] = list
	return list[0], true
}

func (e claudeEntry) key() exactKey {
	if e.requested {
		return exactKey{e.message, e.request, true, "", 0}
	}
	return exactKey{e.message, "", false, e.session, e.time}
}

func (e claudeEntry) spoken() spoken { return spoken{e.message, e.session} }

func (e claudeEntry) wins(over claudeEntry) bool {
	if e.sidechain != over.sidechain {
		return over.sidechain
	}
	if a, b := e.tokens.Total(), over.tokens.Total(); a != b {
		return a > b
	}
	return e.hasSpeed && !over.hasSpeed
}
