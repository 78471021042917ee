package cli

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/bailey-sandbox/bailey/internal/api"
)

func TestKeysAnswerAQuestion(t *testing.T) {
	shown := time.Unix(1000, 0)
	allow := func(scope string) reply { return reply{answer: api.Answer{Verdict: "allow", Scope: scope}} }
	for name, tc := range map[string]struct {
		chunks []string
		after  time.Duration
		want   reply // to the last
	}{
		"y":                           {[]string{"y"}, time.Second, allow(api.Once)},
		"s":                           {[]string{"s"}, time.Second, allow(api.Session)},
		"a":                           {[]string{"a"}, time.Second, allow(api.Always)},
		"n":                           {[]string{"n"}, time.Second, reply{answer: api.Answer{Verdict: "deny", Scope: api.Once}}},
		"esc":                         {[]string{"\x1b"}, time.Second, reply{later: true}},
		"ctrl-c":                      {[]string{"\x03"}, 0, reply{later: true, quit: true}},
		"just in time":                {[]string{"y"}, typedAhead, allow(api.Once)},
		"typed ahead":                 {[]string{"y"}, typedAhead - 1, reply{}},
		"esc, typed ahead":            {[]string{"\x1b"}, 0, reply{}},
		"another key":                 {[]string{"x"}, time.Second, reply{}},
		"a capital":                   {[]string{"Y"}, time.Second, reply{}},
		"enter":                       {[]string{"\r"}, time.Second, reply{}},
		"nothing":                     {[]string{""}, time.Second, reply{}},
		"pasted":                      {[]string{"yy"}, time.Second, reply{}},
		"what a terminal answers":     {[]string{"\x1b[?2026;1$", "y"}, time.Second, reply{}},
		"a key after that":            {[]string{"\x1b[?2026;1$", "y", "n"}, time.Second, reply{answer: api.Answer{Verdict: "deny", Scope: api.Once}}},
		"a key after what was ahead":  {[]string{"nnn", "y"}, time.Second, allow(api.Once)},
		"several that mean something": {[]string{"n", "y"}, time.Second, allow(api.Once)},
	} {
		t.Run(name, func(t *testing.T) {
			p := prompt{shown: shown}
			var got reply
			for _, chunk := range tc.chunks {
				got = p.key([]byte(chunk), shown.Add(tc.after))
			}
			if got != tc.want {
				t.Errorf("%q says %+v, want %+v", tc.chunks, got, tc.want)
			}
			if _, err := got.answer.Check(); (err == nil) != (got.answer != api.Answer{}) {
				t.Errorf("the supervisor would not take %+v", got.answer)
			}
		})
	}
}

func TestLinesFitAndShowWhoseAHostIs(t *testing.T) {
	long := strings.Repeat("github.com.", 20) + "evil.test"
	for _, host := range []string{"a.test", long, "2606:4700::1111"} {
		for _, protocol := range []string{"http", "tcp"} {
			q := api.Question{ID: 1, Host: host, Port: 443, Protocol: protocol, Method: "GET", Path: "/?y once"}
			for width := range 200 {
				line := promptLine("box", q, width)
				if length(line) > max(width, 1) || strings.ContainsAny(line, "\x1b\n") {
					t.Errorf("%d columns: %q", width, line)
				}
				if width >= 45 && host == long && !strings.Contains(line, "evil.test:443") {
					t.Errorf("%d columns hide whose host it is: %q", width, line)
				}
				if width >= 45 && protocol == "tcp" && !strings.Contains(line, "any protocol") {
					t.Errorf("%d columns hide what is asked: %q", width, line)
				}
				if strings.Contains(line, q.Path) {
					t.Errorf("the sandbox's own words are in the line: %q", line)
				}
				for _, list := range [][]api.Question{{q}, {q, q}} {
					if hint := hintLine(list, "ctrl-p a", width); length(hint) > max(width, 1) || width >= 60 && !strings.Contains(hint, "ctrl-p a") {
						t.Errorf("%d columns: %q", width, hint)
					}
				}
			}
		}
	}
	q := api.Question{Host: "api.example.com", Port: 443, Protocol: "http"}
	if got := promptLine("box", q, 120); got != " bailey: may box reach api.example.com:443?  y once · s session · a always · n no · esc later " {
		t.Errorf("the question is %q", got)
	}
	if got := hintLine([]api.Question{q}, "ctrl-p a", 119); got != " bailey: 1 question about the network (api.example.com:443) · ctrl-p a " {
		t.Errorf("the hint is %q", got)
	}
}

func TestWhatASandboxWantsIsEscaped(t *testing.T) {
	q := api.Question{Host: "a.test", Port: 80, Protocol: "http", Method: "GET", Path: "/\x1b]0;x\a\u202e"}
	if got := wish(q); strings.ContainsAny(got, "\x1b\a\u202e") || !strings.HasPrefix(got, "GET /") {
		t.Errorf("it wants %q", got)
	}
	q.Path = "/" + strings.Repeat("x", 10000)
	if got := wish(q); length(got) > 60 {
		t.Errorf("it wants %d characters", length(got))
	}
	if got := place(api.Question{Host: "a\x1b[2J", Port: 1}); strings.Contains(got, "\x1b") {
		t.Errorf("its place is %q", got)
	}
}

func TestKeysThatOpenTheQuestions(t *testing.T) {
	for name, tc := range map[string]struct {
		keys, typed, passed string
		asks                bool
		err                 error
	}{
		"they open":                    {defaultDetachKeys, "x\x10ayes", "x", true, errAsked},
		"nothing is asked":             {defaultDetachKeys, "x\x10ay", "x\x10ay", false, nil},
		"the keys that detach":         {defaultDetachKeys, "\x10\x11", "", true, errDetached},
		"the first key, and another":   {defaultDetachKeys, "\x10b", "\x10b", true, nil},
		"the key alone":                {defaultDetachKeys, "aaa", "aaa", true, nil},
		"one key that detaches":        {"ctrl-]", "a\x1d", "a", true, errDetached},
		"a key of theirs that is ours": {"ctrl-p,a", "\x10a", "", true, errDetached},
		"no keys":                      {"", "\x10a", "\x10a", true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := parseDetachKeys(tc.keys)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []io.Reader{strings.NewReader(tc.typed), iotest.OneByteReader(strings.NewReader(tc.typed))} {
				var passed bytes.Buffer
				_, err := io.Copy(&passed, &detachReader{r: r, keys: keys, asks: func() bool { return tc.asks }})
				if !errors.Is(err, tc.err) || passed.String() != tc.passed {
					t.Errorf("passed %q, %v", passed.String(), err)
				}
			}
		})
	}
}

func TestDetachKeysAreSpelled(t *testing.T) {
	for _, text := range []string{"ctrl-p", "ctrl-],x", "ctrl-@,ctrl-_"} {
		keys, err := parseDetachKeys(text)
		if got := spelled(keys); err != nil || got != strings.ReplaceAll(text, ",", " ") {
			t.Errorf("%s is spelled %s, %v", text, got, err)
		}
	}
}
