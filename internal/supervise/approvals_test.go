package supervise

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/policy"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// wired is a backend on whose machines' wire a test can speak: all that is sent is for one public address.
type wired struct {
	sandbox.Backend
	flows net.Listener
}

type wiredMachine struct {
	sandbox.Machine
	flows net.Listener
}

func (w wired) Start(ctx context.Context, spec sandbox.Spec) (sandbox.Machine, error) {
	m, err := w.Backend.Start(ctx, spec)
	return wiredMachine{m, w.flows}, err
}

func (m wiredMachine) Flows() gateway.Source { return wire{m.Machine.Flows(), m.flows} }

type wire struct {
	gateway.Source
	flows net.Listener
}

func (w wire) Accept() (gateway.Flow, error) {
	conn, err := w.flows.Accept()
	return gateway.Flow{Conn: conn, Dst: netip.MustParseAddrPort("93.184.215.14:80")}, err
}

func (w wire) Close() error { return errors.Join(w.Source.Close(), w.flows.Close()) }

// asking is a running sandbox whose policy asks, and what a program inside does to have a question asked.
func asking(t *testing.T) (y *yard, request func() (answer <-chan int)) {
	y = newYard(t, func(r *state.Record) { r.Network = "ask" })
	flows, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	y.cfg.Backends[0] = wired{y.cfg.Backends[0], flows}
	y.run()
	return y, func() <-chan int {
		conn, err := net.Dial("tcp", flows.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		answer := make(chan int, 1)
		go func() {
			_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: 93.184.215.14\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				answer <- 0
				return
			}
			answer <- res.StatusCode
		}()
		return answer
	}
}

// question waits for one.
func (y *yard) question(seen uint64) api.Approvals {
	y.t.Helper()
	v, err := y.api.AwaitApprovals(y.t.Context(), seen)
	if err != nil || !v.Asks || len(v.Questions) != 1 || v.Questions[0].Host != "93.184.215.14" || v.Questions[0].Rule != "93.184.215.14:80" {
		y.t.Fatalf("the questions are %+v, %v", v, err)
	}
	return v
}

func TestAnAnswerCountsForAsLongAsItSays(t *testing.T) {
	for scope, origin := range map[string]string{api.Once: "", api.Session: `"93.184.215.14:80" (session)`, api.Always: `"93.184.215.14:80" (bailey deny)`} {
		t.Run(scope, func(t *testing.T) {
			y, request := asking(t)
			answer := request()
			v := y.question(0)
			if err := y.api.Answer(t.Context(), v.Questions[0].ID, api.Answer{Verdict: "deny", Scope: scope}); err != nil {
				t.Fatal(err)
			}
			if status := <-answer; status != http.StatusForbidden {
				t.Errorf("who waits gets %d", status)
			}
			if err := y.api.Answer(t.Context(), v.Questions[0].ID, api.Answer{Verdict: "allow", Scope: scope}); !errors.Is(err, api.ErrNoQuestion) {
				t.Errorf("a second answer: %v", err)
			}
			grants, err := y.sb.Grants()
			if err != nil || len(grants.Deny) != map[string]int{api.Always: 1}[scope] {
				t.Errorf("kept are %+v, %v", grants, err)
			}
			p, err := y.api.Policy(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			d := p.Decide(policy.Request{Addr: netip.MustParseAddr("93.184.215.14"), Port: 80})
			if origin == "" && d.Verdict != policy.Ask || origin != "" && (d.Verdict != policy.Deny || !strings.Contains(d.Reason, origin)) {
				t.Errorf("from now on: %s, %s", d.Verdict, d.Reason)
			}
		})
	}
}

func TestAnAnswerThatCannotBeKeptIsNone(t *testing.T) {
	for _, scope := range []string{api.Session, api.Always} {
		t.Run(scope, func(t *testing.T) {
			y, request := asking(t)
			answer := request()
			v := y.question(0)
			broken := filepath.Join(y.store.Dirs().Config, state.ConfigFile)
			if err := os.MkdirAll(filepath.Dir(broken), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(broken, []byte("network: 3\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			id := v.Questions[0].ID
			if err := y.api.Answer(t.Context(), id, api.Answer{Verdict: "deny", Scope: scope}); !errors.Is(err, sandbox.ErrPolicy) {
				t.Errorf("%v", err)
			}
			if list, err := y.api.Approvals(t.Context()); err != nil || len(list.Questions) != 1 {
				t.Errorf("the question is gone: %+v, %v", list, err)
			}
			if err := os.Remove(broken); err != nil {
				t.Fatal(err)
			}
			if scope == api.Session { // not kept for later either
				if err := y.api.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
				if d := y.decide("a.test"); d.Verdict != policy.Ask {
					t.Errorf("%s", d.Reason)
				}
				y.question(0)
			}
			if err := y.api.Answer(t.Context(), id, api.Answer{Verdict: "deny", Scope: scope}); err != nil {
				t.Errorf("%v", err)
			}
			<-answer
		})
	}
}

func TestWhoAsksNothingHasNoQuestions(t *testing.T) {
	for _, network := range []string{"deny", "none"} {
		t.Run(network, func(t *testing.T) {
			y := newYard(t, func(r *state.Record) { r.Network = network })
			y.run()
			if v, err := y.api.Approvals(t.Context()); err != nil || v.Asks || len(v.Questions) != 0 {
				t.Errorf("%+v, %v", v, err)
			}
			if err := y.api.Answer(t.Context(), 1, api.Answer{Verdict: "allow", Scope: api.Always}); !errors.Is(err, api.ErrNoQuestion) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAProjectOnlyClosesWhatNoRuleSpeaksOf(t *testing.T) {
	for _, tt := range []struct {
		user, project string
		want          policy.Verdict
	}{
		{"deny", "ask", policy.Deny}, {"ask", "ask", policy.Ask}, {"allow", "ask", policy.Ask},
		{"deny", "deny", policy.Deny}, {"ask", "deny", policy.Deny}, {"allow", "deny", policy.Deny}, {"ask", "", policy.Ask},
	} {
		for _, trusted := range []bool{false, true} {
			s := Sources{Record: state.Record{Network: tt.user}, Projects: []Project{{Project: &config.Project{Network: config.Network{Default: tt.project}}, Trusted: trusted}}}
			p, _, err := s.Policy()
			if err != nil || p.Default != tt.want {
				t.Errorf("%s under a project's %s (trusted: %v): %v, %v", tt.user, tt.project, trusted, p, err)
			}
		}
	}
}
