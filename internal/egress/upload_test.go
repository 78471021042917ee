package egress

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// random is n bytes that compress to nothing, the same for the same seed.
func random(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// digest answers with the hash of what came, and its length.
func digest(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	_, _ = fmt.Fprintf(w, "%x %d %v", sum.Sum(nil), n, err)
}

// Uploads arrive as they were sent, several at once on one connection, with and without a length.
func TestUploadsArriveWhole(t *testing.T) {
	const uploads, size = 16, 4 << 20
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			w := newGood(t, digest, "good.test")
			client := w.client(kind.http2)
			client.Timeout = 0
			var all sync.WaitGroup
			for i := range byte(uploads) {
				all.Go(func() {
					sent := random(i, size+int(i)*1000)
					var body io.Reader = bytes.NewReader(sent)
					if i%2 == 1 {
						body = struct{ io.Reader }{body} // whose length nobody knows
					}
					res, err := client.Post(kind.url, "application/octet-stream", body)
					if err != nil {
						t.Error(err)
						return
					}
					defer res.Body.Close()
					got, err := io.ReadAll(res.Body)
					if want := fmt.Sprintf("%x %d <nil>", sha256.Sum256(sent), len(sent)); err != nil || string(got) != want {
						t.Errorf("upload %d: %s, %v; want %s", i, got, err, want)
					}
				})
			}
			all.Wait()
		})
	}
}

// An answer that is quicker than the end of its request is whole: net/http's server takes what a handler has not read of
// a body when the answer begins, and the reading that goes on then fails.
func TestQuickAnswersToUploadsAreWhole(t *testing.T) {
	const events = 50
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8)) // with two, it is hardly ever quicker
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			w := newGood(t, func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				for range events {
					_, _ = io.WriteString(rw, "an event\n")
					_ = http.NewResponseController(rw).Flush()
				}
			}, "good.test")
			client := w.client(kind.http2)
			sent := random(1, 300<<10) // more than is held back until the body has ended
			for i := range 200 {
				res, err := client.Post(kind.url, "application/octet-stream", bytes.NewReader(sent))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || len(got) != events*len("an event\n") {
					t.Fatalf("answer %d has %d bytes: %v", i, len(got), err)
				}
			}
		})
	}
}

// Whole uploads by curl, whose HTTP/2 is nghttp2's.
func TestCurlsUploadsArriveWhole(t *testing.T) {
	for _, version := range []string{"--http1.1", "--http2"} {
		t.Run(version, func(t *testing.T) {
			w := newWeb(t)
			port, bundle := w.inside(digest)
			file := filepath.Join(t.TempDir(), "upload")
			for i := range byte(8) {
				sent := random(i, 3<<20)
				if err := os.WriteFile(file, sent, 0o600); err != nil {
					t.Fatal(err)
				}
				got := run(t, nil, "curl", "-sS", version, "-m", "120", "--cacert", bundle, "--resolve", fmt.Sprintf("good.test:%d:127.0.0.1", port),
					"--data-binary", "@"+file, fmt.Sprintf("https://good.test:%d/", port))
				if want := fmt.Sprintf("%x %d <nil>", sha256.Sum256(sent), len(sent)); got != want {
					t.Errorf("upload %d: %s; want %s", i, got, want)
				}
			}
		})
	}
}
