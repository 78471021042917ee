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

// The same by curl, whose HTTP/2 is nghttp2's.
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
