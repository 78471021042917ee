//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestLimitsHoldOrAreRefused runs something that goes beyond each limit, with the limit and without.
func TestLimitsHoldOrAreRefused(t *testing.T) {
	u := newUser(t)
	for _, c := range []struct{ ability, flag, value, script, within string }{
		{"memory", "--memory", "64m", "head -c 300M /dev/zero | tail | wc -c", "314572800"},
		{"pids", "--pids", "30", "for i in $(seq 60); do sleep 5 & done; echo all", "all"},
		// Two seconds of time are worth a fifth of a second of work.
		{"cpus", "--cpus", "0.1", `timeout 2 sh -c 'while :; do :; done'; times > /tmp/t; awk 'END { split($1, t, /[ms]/); print (t[2] > 0.4 ? "busy" : "idle") }' /tmp/t`, "busy"},
		{"disk", "--disk", "16m", "head -c 64M /dev/zero > ~/fill && echo all", "all"},
	} {
		t.Run(c.flag, func(t *testing.T) {
			run := func(flags ...string) result {
				// Control groups are named after sandboxes, on the whole machine.
				args := append([]string{"run", "--rm", "--name", fmt.Sprintf("e2e-%d", os.Getpid())}, flags...)
				return u.bailey(append(args, "shell", ".", "--", "-c", c.script)...)
			}
			out := run(c.flag, c.value)
			if !u.support(c.ability) {
				if out.code != 125 || !strings.HasPrefix(out.stderr, "bailey: "+c.flag+" cannot be enforced") {
					t.Errorf("this host has no such limit: %+v", out)
				}
				u.noSandboxes()
				return
			}
			if strings.TrimSpace(out.stdout) == c.within {
				t.Errorf("the limit did not hold: %+v", out)
			}
			if out := run(); strings.TrimSpace(out.stdout) != c.within {
				t.Errorf("the control does not get through without the limit: %+v", out)
			}
		})
	}
}
