package egress

import (
	"errors"
	"sync"
	"time"
)

// stallTimeout is how long nobody may take what is there: a client its download, a server its upload. It is as long
// as a connection may be idle. Who waits for an answer, or for more of a request, is not stalled.
const stallTimeout = idleTimeout

// errStalled ends a request whose client or server has stopped taking what is there for it.
var errStalled = errors.New("nobody has taken what is there for too long")

// stall calls end when it is left running for stallTimeout.
type stall struct {
	timer *time.Timer
	mu    sync.Mutex
	over  bool
}

func newStall(end func()) *stall {
	s := new(stall)
	s.timer = time.AfterFunc(stallTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.over {
			end()
		}
	})
	s.timer.Stop()
	return s
}

func (s *stall) start() { s.timer.Reset(stallTimeout) }
func (s *stall) stop()  { s.timer.Stop() }

// close returns when end is not running and will not run any more.
func (s *stall) close() {
	s.timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}
