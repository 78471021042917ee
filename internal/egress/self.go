package egress

import (
	"context"
	"encoding/json"
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
	in := newStream(f.Conn, false, &s.heads)
	in.malformed = func(error) {}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.listAllowed)
	mux.HandleFunc("POST /request", s.takeWish)
	serveHTTP(ctx, in, false, mux)
}

// allowedPage is what listAllowed says to programs.
type allowedPage struct {
	Allow   []string `json:"allow"`   // rules, as bailey allow takes them
	Default string   `json:"default"` // "allow" where every public address may be reached
	Proxy   string   `json:"proxy"`   // for programs that insist on one
	Ask     string   `json:"ask"`     // the command for more, to be run inside
}

func (s *Server) listAllowed(w http.ResponseWriter, r *http.Request) {
	page := allowedPage{Allow: []string{}, Default: policy.Deny.String(),
		Proxy: fmt.Sprintf("http://%s:%d", selfName, proxyPort), Ask: "curl -d host=HOST http://" + selfName + "/request"}
	if p := s.policy(); p != nil {
		page.Default = p.Default.String()
		for _, r := range p.Rules {
			if r.Verdict == policy.Allow {
				page.Allow = append(page.Allow, r.String())
			}
		}
	}
	if wantsJSON(r.Header.Values("Accept")) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(page)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := "This sandbox may reach:\n"
	for _, rule := range page.Allow {
		text += "  " + rule + "\n"
	}
	if page.Default == policy.Allow.String() {
		text += "and, by default, every public address.\n"
	}
	if page.Default == policy.Ask.String() {
		text += "A human is asked about every other public address as soon as it is used.\n"
	}
	text += "No proxy is needed; programs that insist on one: " + page.Proxy + "\n"
	_, _ = io.WriteString(w, text+"To ask a human for more: "+page.Ask+"\n")
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
