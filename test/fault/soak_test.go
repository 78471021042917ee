//go:build linux

package fault

import "testing"

// TestSoak is the short form of the command soak.
func TestSoak(t *testing.T) {
	for _, c := range []struct {
		what string
		n    int
	}{{"kills", 30}, {"cycles", 20}, {"parallel", 8}, {"oneName", 50}, {"clients", 20}} {
		t.Run(c.what, func(t *testing.T) {
			l := newLab(t)
			report, err := l.Try(c.what, c.n, 1)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(report)
		})
	}
}
