package egress

import (
	"io"
	"strings"
	"testing"
)

func TestRecheckEndsWhatIsDeniedNow(t *testing.T) {
	tests := []struct {
		name   string
		before []string
		after  []string
		ended  bool
	}{
		{"the rule is gone", []string{"tcp:good.test:443"}, nil, true},
		{"a denial came", []string{"tcp:good.test:443"}, []string{"tcp:good.test:443", "deny good.test"}, true},
		{"the network that it leads to is denied", []string{"tcp:good.test:443"}, []string{"tcp:good.test:443", "deny 93.184.0.0/16"}, true},
		{"another port's rule is left", []string{"tcp:good.test:443"}, []string{"tcp:good.test:80"}, true},
		{"what was carried unread has to be read", []string{"tcp:good.test:443"}, []string{"good.test"}, true},
		{"control: nothing changed", []string{"tcp:good.test:443"}, []string{"tcp:good.test:443"}, false},
		{"control: another rule allows it", []string{"tcp:good.test:443"}, []string{"x.test", "tcp:good.test:443"}, false},
		{"control: another host is denied", []string{"tcp:good.test:443"}, []string{"tcp:good.test:443", "deny evil.test"}, false},
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
