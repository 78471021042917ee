package egress

import (
	"context"
	"time"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// maxTaught bounds the refused connections that are answered at one time; those beyond are reset. Each
	// takes up to about 100 KiB, most of it buffers of TLS and HTTP/2.
	maxTaught = 128
	// teachTimeout is how long a refused connection may last.
	teachTimeout = 10 * time.Second
)

// teach refuses f so that a program, or the model that reads its output, learns why and what a human could do: an
// HTTP request gets the page, in the clear and in TLS for the name that the address was made up for. Anything else
// is reset.
func (s *Server) teach(ctx context.Context, f *flow, denied policy.Decision) {
	defer s.taught.Add(-1)
	if s.taught.Add(1) > maxTaught || policy.RawPort(f.target.Port) {
		s.refuse(f, f.event(denied))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, teachTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { reset(f.Conn) })()
	s.serveFirst(ctx, f, denied, serverFirst)
}
