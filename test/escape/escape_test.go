//go:build linux

package escape

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// backends are those that may be able to start here.
func backends() []string { return []string{"namespace"} }

// cases lists all attacks, by group.
func cases() []attack {
	return slices.Concat(kernelCases(), leakCases(), projectCases(), guardCases(), fileCases(), reviewCases(), closedCases(), bombCases(), networkCases(), credentialCases())
}

func TestAttacks(t *testing.T) {
	ids := map[string]bool{}
	for _, a := range cases() {
		if ids[a.id] {
			t.Errorf("two cases are called %s", a.id)
		}
		ids[a.id] = true
	}
	for _, backend := range backends() {
		t.Run(backend, func(t *testing.T) {
			w := newWorld(t, backend)
			var rows []row
			for _, a := range cases() {
				t.Run(a.id, func(t *testing.T) {
					v := (&trial{a, t, w}).try()
					r := row{a, backend, w.kind(), v}
					rows = append(rows, r)
					t.Log(r)
					if result := v.result(a); result == "fail" {
						t.Errorf("%s", r)
					}
				})
			}
			if file := flagged("table"); file != "" {
				if err := writeTable(file, w.kind(), rows); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// row is one line of the results.
type row struct {
	a       attack
	backend string
	user    string
	v       verdict
}

func (r row) String() string {
	ran := map[bool]string{true: "yes", false: "no"}[r.v.ran]
	line := fmt.Sprintf("%s backend=%s user=%s control=%s ran=%s result=%s %s",
		r.a.id, r.backend, r.user, orDash(r.v.control), ran, r.v.result(r.a), r.v.why())
	return strings.TrimSpace(line)
}
