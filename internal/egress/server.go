// Package egress is the wall around a sandbox's network: it takes the flows and DNS questions that a
// gateway yields, asks policy about each, and dials, copies and records what is allowed. It knows no
// backend and keeps no rules of its own; nothing that the sandbox says decides where it connects.
//
// Where the gateway can hold handshakes (knock), connections that will be carried unread are dialled before they are
// completed inside. What a flow speaks is decided by its rule. Under a tcp rule it is dialled at once and carried as it is, so that
// servers may speak first. Under any other rule the client's first bytes decide: TLS must be for the name that
// the address was made up for, and is opened with a certificate of our own authority, or under a tunnel rule
// carried unread; HTTP is judged request by request; anything else is reset, and so is silence of a minute,
// whatever the port. Where the default allows everything, other protocols and TLS are carried unread, and a
// client that is silent for 300 ms lets its server speak. Where the default asks, nothing is carried unread that no
// rule speaks of: a request waits until a human has answered, unread but for its head, and another protocol's
// connection after its first bytes, or silence (see Questions). A refusal goes the same way as far as an answer needs: a
// request, in TLS or not, gets a page with the reason, and nothing is looked up or dialled. A client that ends its side
// of a connection for requests has gone away, and its request ends, as at most proxies; what is carried keeps
// half-closes. For clients that insist on a proxy there is one, which turns what it is asked for into such flows and
// requests.
package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/certs"
	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/egress/framing"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// defaultMaxFlows bounds what one sandbox can hold of the host: a flow takes up to six descriptors (two
// connections, and a pipe each way for splice) and about 20 KiB.
const defaultMaxFlows = 4096

// Server is the egress of one sandbox. The zero Server but for Audit denies everything. Its fields are
// set before Serve and then left alone.
type Server struct {
	// Policy returns the rules in force; it is asked again for every decision. Nil, or a nil result,
	// denies.
	Policy func() *policy.Policy
	// Resolve looks a name up, once for each allowed connection. Nil is the host's own resolver, both
	// families. It must return soon after its context ends.
	Resolve func(context.Context, hostname.Name) ([]netip.Addr, error)
	// Dial connects to an address that was checked. Nil is the host's own network. It must return soon
	// after its context ends.
	Dial func(context.Context, netip.AddrPort) (net.Conn, error)
	// HostAddrs lists the host's own addresses, which a name may lead to only by a private rule: a
	// service that listens on all of them trusts the host's firewall, and the sandbox is behind it.
	// Nil asks the host's interfaces.
	HostAddrs func() ([]netip.Addr, error)
	// CA signs the certificates with which inspected TLS is ended here. Nil refuses such connections.
	CA *certs.Authority
	// Roots are what certificates outside are checked against. Nil is the host's own.
	Roots *x509.CertPool
	// Credentials returns what looks after the secrets of requests; it is asked again for each. Nil, or a nil result,
	// leaves requests as they are.
	Credentials func() *credential.Keeper
	// Purse pays for the calls of models. Nil lets them pass, and counts none.
	Purse Purse
	// Audit takes every decision; what it cannot record is denied. It must be set.
	Audit audit.Sink
	// Log is for debugging. Nil discards.
	Log *slog.Logger
	// MaxFlows is how many flows may be open at once; 0 is 4096. Those beyond are reset.
	MaxFlows int

	names   nameTable
	refused throttle
	wishes  throttle
	asked   Questions
	flows   atomic.Int64 // open now
	taught  atomic.Int64 // of them, those that are refused and are told so
	// Requests that are open now, and what they may hold of long heads together.
	requests atomic.Int64
	pushes   atomic.Int64
	heads    framing.Budget
	open     registry
	ahead    ahead
	lastID   atomic.Uint64
}

// Serve judges everything that src yields, until ctx ends or src is closed, which is no error. Then it
// closes src, ends every flow and returns when all is gone.
func (s *Server) Serve(ctx context.Context, src gateway.Source) error {
	if s.Audit == nil {
		return errors.New("cannot serve a sandbox's network: there is no audit record")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	packets, streams := src.DNS()
	var wg sync.WaitGroup
	wg.Go(func() {
		<-ctx.Done()
		_ = src.Close()
		_ = packets.Close()
		_ = streams.Close()
	})
	wg.Go(func() { s.hold(ctx, src) })
	wg.Go(func() { s.servePackets(ctx, packets) })
	wg.Go(func() { s.serveStreams(ctx, streams, &wg) })
	err := s.serveFlows(ctx, src, &wg)
	cancel()
	wg.Wait()
	s.ahead.abandonAll()
	s.recordMissed()
	return err
}

// serveFlows accepts until src ends.
func (s *Server) serveFlows(ctx context.Context, src gateway.Source, wg *sync.WaitGroup) error {
	for {
		f, err := src.Accept()
		if err != nil {
			if !s.retry(ctx, "accept a flow", err) {
				return nil
			}
			continue
		}
		flow := &flow{Flow: f, id: s.lastID.Add(1), began: time.Now(), target: s.target(f.Dst), ahead: s.takeAhead(f)}
		if s.flows.Add(1) > s.maxFlows() {
			s.flows.Add(-1)
			flow.ahead.close()
			s.refuse(flow, flow.event(policy.Decision{
				Reason: fmt.Sprintf("the sandbox already has %d connections open", s.maxFlows())}))
			continue
		}
		wg.Go(func() {
			defer s.flows.Add(-1)
			defer flow.ahead.close()
			s.serveFlow(ctx, flow)
		})
	}
}

func (s *Server) maxFlows() int64 {
	if s.MaxFlows > 0 {
		return int64(s.MaxFlows)
	}
	return defaultMaxFlows
}

// retry says whether a loop that got err should go on, after a pause: a shortage, of descriptors for
// one, passes, and ending the loop would leave the sandbox without network for good.
func (s *Server) retry(ctx context.Context, doing string, err error) bool {
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return false
	}
	s.log().Warn("cannot "+doing, "error", err)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

func (s *Server) policy() *policy.Policy {
	if s.Policy == nil {
		return nil
	}
	return s.Policy()
}

func (s *Server) keeper() *credential.Keeper {
	if s.Credentials == nil {
		return nil
	}
	return s.Credentials()
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}
