package credential

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
)

// maxKnown is how many values of one secret are remembered, the newest: whoever rotates it every minute has that many
// in a quarter of an hour.
const maxKnown = 16

// Memory is what real values a sandbox's requests have carried, for as long as its supervisor runs. None of them may
// come back, or come from inside. It outlives the Keepers that share it. The zero Memory is empty.
type Memory struct {
	mu     sync.Mutex
	values map[string]*knownValues // by the secret's name
	looked atomic.Pointer[lookout]
}

// knownValues are those of one secret.
type knownValues struct {
	stands string   // for them inside
	all    []string // the oldest first
}

// lookout looks for what a Memory has.
type lookout struct {
	m      *matcher
	secret []string // by pattern
	with   [][]byte // by pattern: what takes its place inside
}

// learn adds a value of secret, for which stands is inside.
func (k *Memory) learn(secret, stands, value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.values == nil {
		k.values = map[string]*knownValues{}
	}
	known := k.values[secret]
	if known == nil {
		known = &knownValues{}
		k.values[secret] = known
	}
	if known.stands == stands && slices.Contains(known.all, value) {
		return
	}
	known.stands = stands
	if !slices.Contains(known.all, value) {
		known.all = append(known.all, value)
	}
	known.all = known.all[max(0, len(known.all)-maxKnown):]
	var l lookout
	var patterns [][]byte
	for name, values := range k.values {
		for _, v := range values.all {
			for _, form := range forms(v) {
				patterns = append(patterns, []byte(form))
				l.secret, l.with = append(l.secret, name), append(l.with, stand(values.stands, len(form)))
			}
		}
	}
	l.m = newMatcher(patterns)
	k.looked.Store(&l)
}

// stand is placeholder, cut or filled to n bytes: then the length of an answer stays what its head says, and an
// encoded one decodes.
func stand(placeholder string, n int) []byte {
	b := bytes.Repeat([]byte("x"), n)
	copy(b, placeholder)
	return b
}

// lookout is nil while there is nothing to look for.
func (k *Memory) lookout() *lookout { return k.looked.Load() }
