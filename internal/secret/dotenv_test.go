package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProjection(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "shop", ".env")
	write := func(text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &Store{Dir: filepath.Join(dir, "secrets"), Getenv: func(string) string { return "" }}
	write("KEY=sk_live_0123456789abcdef\nexport OTHER='two words' # said\nPORT=3000\n")
	p := Projection{Path: path, Plain: []string{"PORT"}}
	bound := map[string]Entry{"KEY": {Bindings: []Binding{{Host: "api.example.com", As: []string{"bearer"}}}}}
	for what, wrong := range map[string]struct {
		p       Projection
		entries map[string]Entry
	}{
		"no such variable":       {p, map[string]Entry{"NONE": bound["KEY"]}},
		"no such plain variable": {Projection{Path: path, Plain: []string{"NONE"}}, bound},
		"plain and secret":       {Projection{Path: path, Plain: []string{"KEY"}}, bound},
		"no such file":           {Projection{Path: path + "x"}, bound},
	} {
		if names, err := s.Project(t.Context(), wrong.p, wrong.entries); err == nil {
			t.Errorf("%s: %v", what, names)
		}
	}
	for dir, want := range map[string]string{dir: "shop/.env", filepath.Join(dir, "shop"): ".env", filepath.Join(dir, "sho"): "", path: ""} {
		if got, ok := p.Pattern(dir); got != want && ok || ok != (want != "") {
			t.Errorf("below %s: %q, %v", dir, got, ok)
		}
	}
	if odd, _ := (Projection{Path: `/x/a[1]*?\b`}).Pattern("/x"); odd != `a\[1\]\*\?\\b` {
		t.Errorf("odd names: %s", odd)
	}
	if err := os.Symlink(path, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if variables, err := (Projection{Path: filepath.Join(dir, "link")}).Variables(); err == nil {
		t.Errorf("behind a link: %v", variables)
	}
	names, err := s.Project(t.Context(), p, bound)
	if err != nil || strings.Join(names, " ") != "shop.key" {
		t.Fatal(names, err)
	}
	e, err := s.Get("shop.key")
	if err != nil || e.Source != "dotenv:"+path+"#KEY" {
		t.Fatalf("%+v, %v", e, err)
	}
	r, err := e.Resolve()
	if err != nil || !strings.HasPrefix(r.Shape.New(), "sk_live_") {
		t.Errorf("%+v, %v", r, err)
	}
	if value, err := s.Value(t.Context(), "shop.key"); err != nil || value != "sk_live_0123456789abcdef" {
		t.Errorf("%q, %v", value, err)
	}
	write("KEY=sk_live_another9another9another9\nOTHER=x\nPORT=1\n")
	if value, err := s.Value(t.Context(), "shop.key"); err != nil || value != "sk_live_another9another9another9" {
		t.Errorf("after a change: %q, %v", value, err)
	}
	variables, err := p.Variables()
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Render(variables, func(variable string) string { return "STANDS-FOR-" + variable })
	if got := string(text); err != nil || got != "KEY=\"STANDS-FOR-KEY\"\nOTHER=\"STANDS-FOR-OTHER\"\nPORT=1\n" {
		t.Errorf("%q, %v", got, err)
	}
	write("OTHER=x\n")
	if value, err := s.Value(t.Context(), "shop.key"); err == nil {
		t.Errorf("a variable that is gone: %q", value)
	}
	write("KEY='unfinished\n")
	if variables, err := p.Variables(); err == nil || strings.Contains(err.Error(), "unfinished") {
		t.Errorf("a file that cannot be read: %v, %v", variables, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Variables(); err == nil {
		t.Error("a file that everybody can write is read")
	}
	if err := s.Unproject(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Projections(); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	if err := s.Unproject(t.Context(), path); err == nil {
		t.Error("what is not there is taken back")
	}
}

// TestPrefixesAreNoSecrets: only what everybody knows of a value stands before what stands for it.
func TestPrefixesAreNoSecrets(t *testing.T) {
	for value, want := range map[string]string{
		"sk_live_0123456789abcdef": "sk_live_", "sk_live_short": "", "correct-horse-battery-staple-tonight": "", "Summer_Holiday_0123456789abcdef": "",
		"ghp_0123456789abcdefghijklmnopqrstuvwxyz": "ghp_", "sk-proj-0123456789abcdef": "sk-proj-", "AKIA0123456789ABCDEF:secret": "AKIA", "": "",
	} {
		if got := prefixOf(value); got != want {
			t.Errorf("%q begins with %q, want %q", value, got, want)
		}
	}
}

// FuzzProjection: whatever a file of variables holds, a value that stands for no plain variable is not shown.
func FuzzProjection(f *testing.F) {
	f.Add("KEY=abc\nexport B=\"$KEY x\"\n")
	f.Add("A='1\n2'\nB=`x`\n#c\nC: d\n")
	f.Fuzz(func(t *testing.T, text string) {
		variables, err := parseDotenv("/x/.env", text)
		if err != nil {
			return
		}
		shown, err := Projection{Path: "/x/.env"}.Render(variables, func(string) string { return "STANDS" })
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseDotenv("/x/.env", string(shown))
		if err != nil || len(again) != len(variables) {
			t.Fatalf("%q is shown as %q: %v", text, shown, err)
		}
		for name, value := range again {
			if value != "STANDS" {
				t.Errorf("%s is %q", name, value)
			}
		}
	})
}
