package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/policy"
)

func TestGrants(t *testing.T) {
	s := newStore(t)
	dirs := s.Dirs()
	sb, err := s.Create(Record{Name: "box"})
	if err != nil {
		t.Fatal(err)
	}
	host := policy.Entry{Host: "a.test", Methods: []string{"GET"}}
	add := func(v policy.Verdict, e policy.Entry) func(*Grants) error {
		return func(g *Grants) error { g.Add(v, e); return nil }
	}
	for _, change := range []func(*Grants) error{add(policy.Allow, host), add(policy.Allow, host), add(policy.Deny, policy.Entry{Host: "b.test"})} {
		if err := sb.ChangeGrants(change); err != nil {
			t.Fatal(err)
		}
	}
	if g, err := sb.Grants(); err != nil || len(g.Allow) != 1 || len(g.Deny) != 1 || g.Allow[0].Methods[0] != "GET" {
		t.Errorf("%+v, %v", g, err)
	}
	// What a rule is for makes it no other rule, and is what was said last.
	for _, why := range []string{"first", "second", ""} {
		again := host
		again.Why = why
		if err := sb.ChangeGrants(add(policy.Allow, again)); err != nil {
			t.Fatal(err)
		}
	}
	if g, err := sb.Grants(); err != nil || len(g.Allow) != 1 || g.Allow[0].Why != "second" {
		t.Errorf("%+v, %v", g, err)
	}
	if g, err := s.Grants(); err != nil || len(g.Allow)+len(g.Deny) != 0 {
		t.Errorf("a sandbox's rules are everybody's: %+v, %v", g, err)
	}
	// The last word on the same rule counts.
	if err := sb.ChangeGrants(add(policy.Deny, host)); err != nil {
		t.Fatal(err)
	}
	if g, _ := sb.Grants(); len(g.Allow) != 0 || len(g.Deny) != 2 {
		t.Errorf("%+v", g)
	}
	// A change that fails changes nothing.
	if err := sb.ChangeGrants(func(g *Grants) error { g.Deny = nil; return errors.New("no") }); err == nil {
		t.Error("the error is lost")
	}
	if g, _ := sb.Grants(); len(g.Deny) != 2 {
		t.Errorf("%+v", g)
	}
	if err := s.ChangeGrants(add(policy.Allow, host)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dirs.Config, GrantsFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(path, []byte(`{"version":1,"allow":[{"host":"x.test"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if g, err := s.Grants(); err != nil || len(g.Allow) != 1 {
		t.Errorf("rules of an older bailey: %+v, %v", g, err)
	}
	for _, damage := range []string{"{", `{"version":0}`, `{"version":4}`, `{"version":1,"other":3}`, `{"version":1}{}`, `{"version":1,"allow":[{"hots":"x"}]}`} {
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if g, err := s.Grants(); err == nil || len(g.Allow) > 0 {
			t.Errorf("%s: %+v, %v", damage, g, err)
		}
	}
}

func TestGrantsFromManyAtOnce(t *testing.T) {
	s := newStore(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			err := s.ChangeGrants(func(g *Grants) error {
				g.Add(policy.Allow, policy.Entry{Host: fmt.Sprintf("h%d.test", i)})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if g, err := s.Grants(); err != nil || len(g.Allow) != 20 {
		t.Errorf("%d rules, %v", len(g.Allow), err)
	}
}

func TestTrust(t *testing.T) {
	s := newStore(t)
	trusted := func(path, hash string) bool {
		t.Helper()
		ok, err := s.Trusted(path, hash)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if trusted("/a/bailey.yaml", "") || trusted("/a/bailey.yaml", "h1") {
		t.Error("what nobody accepted is trusted")
	}
	if err := s.Trust("/a/bailey.yaml", "h1"); err != nil {
		t.Fatal(err)
	}
	if !trusted("/a/bailey.yaml", "h1") || trusted("/a/bailey.yaml", "h2") || trusted("/b/bailey.yaml", "h1") || trusted("/a/bailey.yaml", "") {
		t.Error("trust is not for that text in that place only")
	}
	if was, err := s.Distrust("/a/bailey.yaml"); err != nil || !was || trusted("/a/bailey.yaml", "h1") {
		t.Errorf("not revoked: %v, %v", was, err)
	}
	if was, err := s.Distrust("/a/bailey.yaml"); err != nil || was {
		t.Errorf("revoked twice: %v, %v", was, err)
	}
}

func TestOlderRecordsAreRead(t *testing.T) {
	for version, want := range map[int]bool{0: false, 1: true, recordVersion: true, recordVersion + 1: false} {
		_, err := decodeRecord(fmt.Appendf(nil, `{"version":%d,"name":"box","machine_id":"","created":"2026-01-02T03:04:05Z"}`, version), "box")
		if (err == nil) != want {
			t.Errorf("version %d: %v", version, err)
		}
	}
}
