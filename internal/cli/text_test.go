package cli

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestDetachKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		keys, typed, passed string
		left                bool
	}{
		"nothing special":              {defaultDetachKeys, "hello", "hello", false},
		"the keys leave":               {defaultDetachKeys, "hi\x10\x11rest", "hi", true},
		"the first key alone is typed": {defaultDetachKeys, "a\x10b", "a\x10b", false},
		"the first key twice":          {defaultDetachKeys, "\x10\x10\x11", "\x10", true},
		"other keys":                   {"ctrl-],x", "a\x1dx", "a", true},
		"no keys":                      {"", "\x10\x11", "\x10\x11", false},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := parseDetachKeys(tc.keys)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []io.Reader{strings.NewReader(tc.typed), iotest.OneByteReader(strings.NewReader(tc.typed))} {
				var passed bytes.Buffer
				_, err := io.Copy(&passed, &detachReader{r: r, keys: keys})
				if errors.Is(err, errDetached) != tc.left || passed.String() != tc.passed {
					t.Errorf("passed %q, %v", passed.String(), err)
				}
			}
		})
	}
	for _, bad := range []string{"ctrl-", "ctrl-1", "esc", ",", "ctrl-p,"} {
		if _, err := parseDetachKeys(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1": 1, "512": 512, "1k": 1024, "4g": 4 << 30, "4G": 4 << 30, "1.5m": 3 << 19, "2GiB": 2 << 30, "10mb": 10 << 20} {
		if got, err := parseSize("memory", text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-1", "g", "1x", "nan", "inf", "1e30", "4 g", "0x10q"} {
		if got, err := parseSize("memory", text); err == nil {
			t.Errorf("%q was taken as %d", text, got)
		}
	}
}

func TestParseTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "90s": 90 * time.Second, "30": 30 * time.Second, "1.5h": 90 * time.Minute} {
		if got, err := parseTimeout(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-5", "soon", "1e300", "nan"} {
		if got, err := parseTimeout(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

func TestLastLines(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	for n, want := range map[int]string{-1: text, 0: "", 1: "three\n", 2: "two\nthree\n", 3: text, 9: text} {
		if got := string(lastLines([]byte(text), n)); got != want {
			t.Errorf("the last %d lines are %q, want %q", n, got, want)
		}
	}
}

func TestParseRequest(t *testing.T) {
	for text, want := range map[string]string{
		"github.com":              "github.com:443  ",
		"GitHub.com.:22":          "github.com:22  ",
		"10.0.0.5:5432":           "10.0.0.5:5432  ",
		"2606:4700::1":            "[2606:4700::1]:443  ",
		"[2606:4700::1]:80":       "[2606:4700::1]:80  ",
		"https://a.test":          "GET on a.test:443 GET /",
		"http://a.test/x%2fy?z=1": "GET on a.test:80 GET /x%2fy",
		"wss://a.test:8443/s":     "GET on a.test:8443 GET /s",
		"https://[::1]/":          "GET on [::1]:443 GET /",
	} {
		req, err := parseRequest(text, "")
		if got := req.String() + " " + req.Method + " " + req.Path; err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	if req, err := parseRequest("a.test", "POST"); err != nil || req.Method != "POST" || req.Path != "/" {
		t.Errorf("%+v, %v", req, err)
	}
	for _, text := range []string{"", "a b", "a.test:0", "a.test:99999", "a.test:x", "ftp://a.test", "https://", "https:///x", "127.1", "::ffff:1.2.3.4", "http://%zz"} {
		if req, err := parseRequest(text, ""); err == nil {
			t.Errorf("%q was taken as %s", text, req)
		}
	}
}
