package egress

import (
	"io"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

func TestRecheckEndsWhatIsDeniedNow(t *testing.T) {
	tests := []struct {
		name   string
		before []string
		after  []string
		ended  bool
	}{
		{"the rule is gone", []string{"good.test"}, nil, true},
		{"a denial came", []string{"good.test"}, []string{"good.test", "deny good.test"}, true},
		{"the network that it leads to is denied", []string{"good.test"}, []string{"good.test", "deny 93.184.0.0/16"}, true},
		{"another port's rule is left", []string{"good.test"}, []string{"good.test:80"}, true},
		{"what was carried unread has to be read", []string{"tunnel:good.test"}, []string{"good.test"}, true},
		{"control: nothing changed", []string{"good.test"}, []string{"good.test"}, false},
		{"control: another rule allows it", []string{"good.test"}, []string{"x.test", "good.test:443"}, false},
		{"control: another host is denied", []string{"good.test"}, []string{"good.test", "deny evil.test"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, tt.before...).start()
			l.named("good.test", publicAddr)
			l.host(publicAddr+":443", echo)
			conn := l.openName("good.test", 443)
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			l.setRules(tt.after...)
			l.Recheck()
			if !tt.ended {
				l.wantEcho(conn)
				return
			}
			l.wantReset(conn)
			events := l.end()
			if last := events[len(events)-1]; !strings.HasPrefix(last.Error, "the policy has changed: ") || last.BytesIn != 1 {
				t.Errorf("close event: %+v", last)
			}
			if len(l.Server.open.flows) != 0 {
				t.Error("the ended flow is still known")
			}
		})
	}
}

func TestRulesForRequestsRefuseWhatIsNotRead(t *testing.T) {
	l := newLab(t, "good.test").start()
	l.named("good.test", publicAddr)
	l.host(publicAddr+":443", echo)
	l.mu.Lock()
	rules := l.rules
	limited := rules.Rules[0]
	limited.Methods = []string{"GET"}
	l.rules = &policy.Policy{Rules: []policy.Rule{limited}}
	l.mu.Unlock()
	l.wantReset(l.openName("good.test", 443))
	l.wantUntouched()
	l.mu.Lock()
	l.rules = rules
	l.mu.Unlock()
	l.wantEcho(l.openName("good.test", 443))
}
