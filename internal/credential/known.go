package credential

import (
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
	values map[string][]string // by the secret's name, the oldest first
	looked atomic.Pointer[lookout]
}

// lookout looks for what a Memory has.
type lookout struct {
	m      *matcher
	secret []string // by pattern
	form   [][]byte // by pattern
}

// learn adds a value of secret.
func (k *Memory) learn(secret, value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.Contains(k.values[secret], value) {
		return
	}
	if k.values == nil {
		k.values = map[string][]string{}
	}
	kept := append(k.values[secret], value)
	k.values[secret] = kept[max(0, len(kept)-maxKnown):]
	var l lookout
	for name, values := range k.values {
		for _, v := range values {
			for _, form := range forms(v) {
				l.form = append(l.form, []byte(form))
				l.secret = append(l.secret, name)
			}
		}
	}
	l.m = newMatcher(l.form)
	k.looked.Store(&l)
}

// lookout is nil while there is nothing to look for.
func (k *Memory) lookout() *lookout { return k.looked.Load() }
