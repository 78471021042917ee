package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/bailey-sandbox/bailey/internal/failpoint"
)

// access says which peers a route serves. The zero value serves nobody.
type access int

const (
	accessNobody access = iota
	// accessOwner serves the user whom the supervisor runs as, and root.
	accessOwner
)

type route struct {
	pattern string
	access  access
	handle  func(h *handler, w http.ResponseWriter, r *http.Request) error
}

// routes is everything that the socket offers.
func routes() []route {
	return []route{
		{"GET /v1/inspect", accessOwner, (*handler).inspect},
		{"GET /v1/stats", accessOwner, (*handler).stats},
		{"POST /v1/follow", accessOwner, (*handler).follow},
		{"POST /v1/stop", accessOwner, (*handler).stop},
		{"GET /v1/policy", accessOwner, (*handler).policy},
		{"POST /v1/reload", accessOwner, (*handler).reload},
		{"POST /v1/hold", accessOwner, (*handler).hold},
		{"GET /v1/approvals", accessOwner, (*handler).approvals},
		{"POST /v1/approvals/{id}", accessOwner, (*handler).answer},
		{"POST /v1/stream", accessOwner, (*handler).stream},
	}
}

type handler struct {
	sup     Supervisor
	uid     int // the supervisor's own
	log     *slog.Logger
	streams *streams
	ending  context.Context // its end is the server's
}

func (h *handler) mux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, rt := range routes() {
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) {
			if !h.allowed(rt.access, peer(r.Context())) {
				http.Error(w, "forbidden", http.StatusForbidden)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			if err := rt.handle(h, w, r); err != nil {
				h.log.Debug("request failed", "route", rt.pattern, "error", err)
				reply(w, http.StatusConflict, NewError(err))
			}
		})
	}
	return mux
}

func (h *handler) allowed(a access, p peerID) bool {
	return a == accessOwner && p.known && (p.uid == h.uid || p.uid == 0)
}

func (h *handler) inspect(w http.ResponseWriter, r *http.Request) error {
	v, err := h.sup.Inspect(r.Context())
	return answer(w, v, err)
}

func (h *handler) stats(w http.ResponseWriter, r *http.Request) error {
	v, err := h.sup.Stats(r.Context())
	return answer(w, v, err)
}

func (h *handler) follow(w http.ResponseWriter, r *http.Request) error {
	var f Follow
	if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
		return errors.New("cannot read the request: not the JSON that was expected")
	}
	return answer(w, struct{}{}, h.sup.Follow(r.Context(), f))
}

// stop goes on when the client leaves: half a stop would be worse than none.
func (h *handler) stop(w http.ResponseWriter, r *http.Request) error {
	return answer(w, struct{}{}, h.sup.Stop(context.WithoutCancel(r.Context())))
}

func (h *handler) policy(w http.ResponseWriter, r *http.Request) error {
	v, err := h.sup.Policy(r.Context())
	return answer(w, v, err)
}

func (h *handler) reload(w http.ResponseWriter, r *http.Request) error {
	return answer(w, struct{}{}, h.sup.Reload(r.Context()))
}

// maxHold bounds how long one client can keep what runs inside from running.
const maxHold = 5 * time.Minute

// hold answers when everything inside has stopped, and lets it go on when the client leaves.
func (h *handler) hold(w http.ResponseWriter, r *http.Request) error {
	release, err := h.sup.Hold(r.Context())
	if err != nil {
		return err
	}
	defer release()
	reply(w, http.StatusOK, struct{}{})
	if err := http.NewResponseController(w).Flush(); err != nil {
		return nil
	}
	select {
	case <-r.Context().Done():
	case <-h.ending.Done():
	case <-time.After(maxHold):
	}
	return nil
}

// stream answers 101 and from then on only copies bytes both ways. What is spoken is guestproto, between
// the client and the guest.
func (h *handler) stream(w http.ResponseWriter, r *http.Request) error {
	guest, release, err := h.sup.Stream(r.Context())
	if err != nil {
		return err
	}
	defer release()
	defer guest.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return errors.New("cannot take over the connection")
	}
	defer client.Close()
	if !h.streams.add(client, guest) {
		return nil
	}
	defer h.streams.remove(client, guest)
	if _, err := io.WriteString(client, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+upgrade+"\r\n\r\n"); err != nil {
		return nil
	}
	// A client may send before it has read our answer; those bytes are in the reader already.
	early := make([]byte, buffered.Reader.Buffered())
	if _, err := io.ReadFull(buffered, early); err != nil {
		return nil
	}
	if _, err := guest.Write(early); err != nil {
		return nil
	}
	if failpoint.Hit("stream.opened") == nil {
		pipe(client, guest)
	}
	return nil
}

func answer(w http.ResponseWriter, v any, err error) error {
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, v)
	return nil
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
