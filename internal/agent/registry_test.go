package agent

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// fakeRegistry serves packages as an npm registry does. Change it only while nothing asks.
type fakeRegistry struct {
	*httptest.Server
	packages map[string]packument
	tarballs map[string][]byte // by path
	token    string            // "" lets everybody in
	lookups  atomic.Int64
	fetches  atomic.Int64
}

func newRegistry(t *testing.T) *fakeRegistry {
	r := &fakeRegistry{packages: map[string]packument{}, tarballs: map[string][]byte{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *fakeRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.token != "" && req.Header.Get("Authorization") != "Bearer "+r.token {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	if data, ok := r.tarballs[req.URL.Path]; ok {
		r.fetches.Add(1)
		w.Write(data)
		return
	}
	r.lookups.Add(1)
	p, ok := r.packages[strings.TrimPrefix(req.URL.Path, "/")]
	if !ok {
		http.NotFound(w, req)
		return
	}
	json.NewEncoder(w).Encode(p)
}

// publish adds a version, makes it the latest, and returns it for the test to spoil before publishing again.
func (r *fakeRegistry) publish(pkg, version string, tarball []byte, optional map[string]string) release {
	path := "/-/" + strings.ReplaceAll(pkg, "/", "-") + "-" + version + ".tgz"
	sum := sha512.Sum512(tarball)
	var rel release
	rel.OptionalDependencies = optional
	rel.Dist.Tarball = r.URL + path
	rel.Dist.Integrity = "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
	r.tarballs[path] = tarball
	r.put(pkg, version, rel)
	return rel
}

func (r *fakeRegistry) put(pkg, version string, rel release) {
	p, ok := r.packages[pkg]
	if !ok {
		p = packument{DistTags: map[string]string{}, Versions: map[string]release{}}
	}
	p.DistTags["latest"] = version
	p.Versions[version] = rel
	r.packages[pkg] = p
}

// file is a plain entry of a test's archive; change the header for worse ones.
func file(name, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}, content}
}

type entry struct {
	tar.Header
	content string
}

// packed makes a tarball. An entry may promise more bytes than it has; the archive then ends early.
func packed(t testing.TB, entries ...entry) []byte {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		if err := tw.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	tw.Flush()
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
