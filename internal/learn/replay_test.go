package learn

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/audit"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

// replay judges the record of s under another configuration, and tells what changes in short.
func (s *session) replay(network string) (Replayed, string) {
	s.t.Helper()
	r, err := Replay(newSession(s.t, network).Policy, s.record())
	if err != nil {
		s.t.Fatal(err)
	}
	var changes []string
	for _, c := range r.Changes {
		changes = append(changes, fmt.Sprintf("%dx %s→%s %s %s%s by %q", c.Count, c.Then, c.Now, c.Target, c.Method, c.Path, c.Rule))
	}
	for _, u := range r.Unjudged {
		changes = append(changes, fmt.Sprintf("%dx not judged: %s", u.Count, u.Why))
	}
	return r, strings.Join(changes, "\n")
}

func TestReplay(t *testing.T) {
	s := newSession(t, `{default: deny, allow: [a.test, "tcp:db.test:5432", "private:in.test"]}`)
	s.connect("a.test:443", "GET /x", "GET /x", "POST /y")
	s.connect("db.test:5432")
	s.connect("more.test:443")
	for name, tt := range map[string]struct{ network, want string }{
		"nothing changes":            {`{allow: [a.test, "tcp:db.test:5432"]}`, ""},
		"a rule is gone":             {`{allow: ["tcp:db.test:5432"]}`, "2x allow→deny a.test:443 GET/x by \"\"\n1x allow→deny a.test:443 POST/y by \"\""},
		"a rule is narrower":         {`{allow: [{host: a.test, methods: [GET]}, "tcp:db.test:5432"]}`, `1x allow→deny a.test:443 POST/y by ""`},
		"a rule denies":              {`{allow: [a.test, "tcp:db.test:5432"], deny: [a.test]}`, "2x allow→deny a.test:443 GET/x by \"a.test\"\n1x allow→deny a.test:443 POST/y by \"a.test\""},
		"a rule allows more":         {`{allow: [a.test, "tcp:db.test:5432", more.test]}`, `1x deny→allow more.test:443  by "more.test"`},
		"the default asks":           {`{default: ask, allow: [a.test, "tcp:db.test:5432"]}`, `1x deny→ask more.test:443  by ""`},
		"the default allows":         {`{default: allow}`, `1x deny→allow more.test:443  by ""`},
		"what was unread is read":    {`{allow: [a.test, "db.test:5432"]}`, "1x not judged: " + whyUnread},
		"what was read goes unread":  {`{allow: ["tunnel:a.test", "tcp:db.test:5432"]}`, ""},
		"and is not without its way": {`{allow: [a.test]}`, `1x allow→deny db.test:5432  by ""`},
	} {
		if _, got := s.replay(tt.network); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tt.want)
		}
	}
	if r, _ := s.replay(`{allow: [a.test, "tcp:db.test:5432"]}`); r.Judged != 5 {
		t.Errorf("%d were judged", r.Judged)
	}
}

// Where a name led then is judged as well: a rule that is not private does not open it.
func TestReplayJudgesTheAddressThatWasDialled(t *testing.T) {
	s := newSession(t, `{allow: ["private:in.test", "private:tcp:db.test:5432"]}`)
	s.connect("in.test:443", "GET /x")
	s.connect("db.test:5432")
	for i := range s.events {
		if s.events[i].Kind == audit.KindConnect {
			s.events[i].Addr = "10.0.0.1"
		}
	}
	if _, got := s.replay(`{allow: ["private:in.test", "private:tcp:db.test:5432"]}`); got != "" {
		t.Errorf("%s", got)
	}
	if _, got := s.replay(`{allow: ["in.test", "tcp:db.test:5432"]}`); got !=
		"1x allow→deny in.test:443  by \"in.test\"\n1x allow→deny db.test:5432  by \"tcp:db.test:5432\"" {
		t.Errorf("%s", got)
	}
}

func TestReplayGuessesNothing(t *testing.T) {
	s := newSession(t, "{allow: [a.test]}")
	s.ask("more.test")
	s.connect("a.test:443", "GET /ghp_"+strings.Repeat("Ab1", 12)+"/x")
	conn := s.target("a.test:443")
	d := s.Decide(conn)
	s.event(audit.KindConnect, conn, policy.Decision{Rule: d.Rule, Reason: "a.test leads to 10.0.0.1, a private address"})
	s.events[len(s.events)-1].Addr = "10.0.0.1"
	s.event(audit.KindConnect, conn, d.NotHTTP())
	s.event(audit.KindRequest, conn, policy.Decision{Reason: "its target is not plain ASCII"})
	s.events = append(s.events, audit.Event{Kind: "later", Verdict: "deny"}, audit.Event{Kind: audit.KindRequest, Verdict: "ask", Host: "a.test", Port: 443})
	r, got := s.replay(`{allow: [{host: a.test, paths: ["/y/**"]}, more.test]}`)
	want := []string{"1x not judged: " + whyQuestion, "1x not judged: " + whyAddress, "2x not judged: " + whyOther, "1x not judged: " + whyRedacted}
	if got != strings.Join(want, "\n") || r.Skipped != 2 || r.Judged != 0 {
		t.Errorf("%s\n%+v", got, r)
	}
	// Without rules for paths, what is missing of one does not matter.
	if _, got := s.replay("{allow: [more.test]}"); !strings.Contains(got, "1x allow→deny a.test:443 GET/{redacted}/x") {
		t.Errorf("%s", got)
	}
}

func TestReplayIsBounded(t *testing.T) {
	s := newSession(t, "{default: allow}")
	for i := range maxChanges + 10 {
		s.connect("a.test:80", fmt.Sprintf("GET /%d", i), "GET /0")
	}
	if r, _ := s.replay("{}"); len(r.Changes) != maxChanges || r.More != 10 || r.Changes[0].Count != maxChanges+11 {
		t.Errorf("%d changes, %d more", len(r.Changes), r.More)
	}
	broken := errors.New("input/output error")
	if _, err := Replay(s.Policy, func(yield func(audit.Event, error) bool) { yield(audit.Event{}, broken) }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// What is proposed from a session changes nothing of what it was allowed, but for what only private rules open.
func TestAProposalReplaysWithoutLoss(t *testing.T) {
	s := newSession(t, `{default: allow, allow: ["*.a.test", "tcp:b.test:22"]}`)
	for i := range 30 {
		s.connect(fmt.Sprintf("h%d.a.test:443", i%8), fmt.Sprintf("GET /v1/%d", i), "POST /v1")
	}
	s.connect("b.test:22")
	s.connect("c.test:80", "GET /")
	network := strings.TrimPrefix(s.propose().YAML(), "network:")
	if r, got := s.replay(network); len(r.Changes) != 0 || r.Judged != 62 {
		t.Errorf("%s\n%+v under %s", got, r, network)
	}
}
