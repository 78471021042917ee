package egress

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/hostname"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// maxWish is the largest body of a request for access, in bytes.
const maxWish = 4 << 10

// serveSelf answers at selfName, where programs inside learn what is allowed and can ask for more. It grants
// nothing: what they ask for goes into the record, for a human to read.
func (s *Server) serveSelf(ctx context.Context, f *flow) {
	in := newStream(f.Conn, false)
	in.malformed = func(error) {}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.listAllowed)
	mux.HandleFunc("POST /request", s.takeWish)
	serveHTTP(ctx, in, false, mux)
}

func (s *Server) listAllowed(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := "This sandbox may reach:\n"
	p := s.policy()
	if p != nil {
		for _, r := range p.Rules {
			if r.Verdict == policy.Allow {
				text += fmt.Sprintf("  %s\n", r)
			}
		}
	}
	if p != nil && p.Default == policy.Allow {
		text += "and, by default, every public address.\n"
	}
	if p != nil && p.Default == policy.Ask {
		text += "A human is asked about every other public address as soon as it is used.\n"
	}
	text += "To ask a human for more: curl -d host=HOST http://" + selfName + "/request\n"
	_, _ = io.WriteString(w, text)
}

// takeWish records that the sandbox asks for a host.
func (s *Server) takeWish(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxWish)
	name, err := hostname.Parse(r.PostFormValue("host"))
	if err != nil {
		writeError(w, r, http.StatusBadRequest, "a request for access is host=HOST: "+err.Error(), "")
		return
	}
	if _, ok := s.wishes.take(time.Now()); !ok {
		writeError(w, r, http.StatusTooManyRequests, "too many requests for access", "")
		return
	}
	d := s.policy().Decide(policy.Request{Host: name, Port: 443})
	if err := s.record(audit.Event{Kind: audit.KindWish, Host: string(name), Port: 443, Verdict: d.Verdict.String(), Rule: d.Rule, Reason: d.Reason}); err != nil {
		writeError(w, r, http.StatusBadGateway, "bailey cannot record the request", "")
		return
	}
	if d.Verdict == policy.Allow {
		_, _ = io.WriteString(w, "bailey: "+d.Reason+".\n")
		return
	}
	writeError(w, r, http.StatusAccepted, "the request for "+string(name)+" is recorded, and a human decides", d.Cure)
}
