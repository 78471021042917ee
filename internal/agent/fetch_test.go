package agent

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEnsureEndsWithItsContext(t *testing.T) {
	r := newRegistry(t)
	r.publishDemo(t, "1.0.0")
	t.Run("while another process fetches", func(t *testing.T) {
		s, a := newStore(t, r), nativeAgent()
		if err := os.MkdirAll(s.packageDir(a), 0o755); err != nil {
			t.Fatal(err)
		}
		unlock, err := lock(t.Context(), filepath.Join(s.packageDir(a), "lock"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := s.Ensure(ctx, a, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := unlock(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Ensure(t.Context(), a, ""); err != nil {
			t.Errorf("after the other: %v", err)
		}
	})
	t.Run("while the registry says nothing", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		released := make(chan struct{})
		silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			cancel() // the question has arrived
			<-released
		}))
		defer silent.Close()
		defer close(released)
		s := newStore(t, r)
		s.Registry = Registry{base: silent.URL}
		if _, err := s.Ensure(ctx, nativeAgent(), ""); err == nil {
			t.Error("it made something out of nothing")
		}
	})
}

func TestNothingGoesFromHTTPSToPlainHTTP(t *testing.T) {
	plain := newRegistry(t)
	plain.publishDemo(t, "1.0.0")
	target := plain.URL
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, target+req.URL.Path, http.StatusFound)
	}))
	defer secure.Close()
	s := newStore(t, plain)
	s.HTTP, s.Registry = secure.Client(), Registry{base: secure.URL}
	if in, err := s.Ensure(t.Context(), nativeAgent(), ""); err == nil || !strings.Contains(err.Error(), "plain http") {
		t.Errorf("a redirect: got %+v, %v", in, err)
	}
	for tarball, ok := range map[string]bool{"https://cdn.test/a.tgz": true, "http://cdn.test/a.tgz": false, "/a.tgz": false, "file:///a": false, "": false} {
		var rel release
		rel.Dist.Tarball = tarball
		if _, err := s.tarball("a", rel); (err == nil) != ok {
			t.Errorf("the tarball's address %q: %v", tarball, err)
		}
	}
	onward := newRegistry(t)
	onward.publishDemo(t, "1.0.0")
	target = onward.URL
	polite := httptest.NewServer(secure.Config.Handler)
	defer polite.Close()
	s = newStore(t, onward)
	s.Registry = Registry{base: polite.URL}
	if _, err := s.Ensure(t.Context(), nativeAgent(), ""); err != nil {
		t.Errorf("a redirect that gives nothing up: %v", err)
	}
}
