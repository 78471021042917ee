package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func mustOpen(t *testing.T, dir string) *Authority {
	t.Helper()
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// handshake lets a client that trusts pem connect to a server with that certificate.
func handshake(t *testing.T, pem []byte, leaf *tls.Certificate, name string) error {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate in %q", pem)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*leaf}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if conn, err := ln.Accept(); err == nil {
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: roots, ServerName: name})
	if err == nil {
		_ = conn.Close()
	}
	return err
}

func TestLeavesAreForTheirHost(t *testing.T) {
	a := mustOpen(t, filepath.Join(t.TempDir(), "ca"))
	long := strings.Repeat("a.", 100) + "test"
	for _, host := range []string{"good.test", long, "93.184.215.14", "2001:db8::1"} {
		leaf, err := a.Leaf(host)
		if err != nil {
			t.Fatal(err)
		}
		if err := handshake(t, a.PEM(), leaf, host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if err := handshake(t, a.PEM(), leaf, "evil.test"); err == nil {
			t.Errorf("the leaf for %s is good for evil.test", host)
		}
		if life := time.Until(leaf.Leaf.NotAfter); life > leafLife || leaf.Leaf.IsCA || leaf.Leaf.NotBefore.After(time.Now().Add(-backdate/2)) {
			t.Errorf("leaf for %s: %v, %v to %v", host, leaf.Leaf.IsCA, leaf.Leaf.NotBefore, leaf.Leaf.NotAfter)
		}
	}
	other := mustOpen(t, filepath.Join(t.TempDir(), "ca"))
	leaf, _ := other.Leaf("good.test")
	if err := handshake(t, a.PEM(), leaf, "good.test"); err == nil {
		t.Error("another installation's leaf is trusted")
	}
}

// forge signs a leaf for evil.test with a certificate that must not sign it.
func forge(t *testing.T, cert *x509.Certificate, key *ecdsa.PrivateKey, chain ...[]byte) *tls.Certificate {
	t.Helper()
	forger := &Authority{cert: cert, key: key, own: key}
	forged, err := forger.sign("evil.test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	forged.Certificate = append(forged.Certificate[:1], chain...)
	return forged
}

func TestWhatIsSignedSignsNothingFurther(t *testing.T) {
	a := mustOpen(t, filepath.Join(t.TempDir(), "ca"))
	if err := handshake(t, a.PEM(), forge(t, a.cert, a.key, a.cert.Raw), "evil.test"); err != nil {
		t.Fatalf("control: %v", err)
	}
	leaf, err := a.Leaf("good.test")
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, a.PEM(), forge(t, leaf.Leaf, a.own, leaf.Certificate...), "evil.test"); err == nil {
		t.Error("a leaf's signature is trusted")
	}
	template, err := authorityTemplate("another", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	template.MaxPathLenZero = true
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	another, err := create509(template, a.cert, key, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, a.PEM(), forge(t, another, key, another.Raw, a.cert.Raw), "evil.test"); err == nil {
		t.Error("a sandbox's authority makes others")
	}
}

func TestEachSandboxHasItsOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	one, two := mustOpen(t, dir), mustOpen(t, dir)
	if one.key.Equal(two.key) || one.cert.SerialNumber.Cmp(two.cert.SerialNumber) == 0 || !bytes.Equal(one.PEM(), two.PEM()) {
		t.Error("two sandboxes share an authority, or trust two")
	}
	if life := time.Until(one.cert.NotAfter); life > sandboxLife || one.cert.MaxPathLen != 0 || !one.cert.MaxPathLenZero {
		t.Errorf("it lasts for %v and signs %d further", life, one.cert.MaxPathLen)
	}
	content, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	if installed, err := decode(content); err != nil || one.key.Equal(installed.key) || one.own.Equal(installed.key) {
		t.Errorf("the installation's key is kept: %v", err)
	}
}

func TestSandboxAuthoritiesAreRenewed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	a := mustOpen(t, dir)
	first := a.cert
	soon, over := time.Now().Add(sandboxLife/2-time.Minute), time.Now().Add(-time.Minute)
	a.cert.NotAfter = soon
	leaf, err := a.Leaf("good.test")
	if err != nil || a.cert == first || handshake(t, a.PEM(), leaf, "good.test") != nil {
		t.Errorf("it is not renewed: %v", err)
	}
	// Without the key it is used to its end, and not beyond.
	if err := os.Rename(filepath.Join(dir, fileName), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	second := a.cert
	second.NotAfter = soon
	if leaf, err := a.Leaf("b.test"); err != nil || a.cert != second || leaf.Leaf.NotAfter.After(second.NotAfter) {
		t.Errorf("before its end: %v", err)
	}
	second.NotAfter = over
	if _, err := a.Leaf("c.test"); err == nil {
		t.Error("it is used after its end")
	}
	mustOpen(t, dir) // makes another for the installation
	if _, err := a.Leaf("d.test"); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("it is renewed by an authority that the sandbox does not trust: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, fileName)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Leaf("e.test"); err != nil {
		t.Errorf("control: %v", err)
	}
}

func TestLeavesAreKeptForAWhile(t *testing.T) {
	a := mustOpen(t, filepath.Join(t.TempDir(), "ca"))
	first, _ := a.Leaf("good.test")
	if again, _ := a.Leaf("good.test"); again != first {
		t.Error("a new leaf is made for every connection")
	}
	a.leaves["good.test"].Leaf.NotAfter = time.Now().Add(leafLife/2 - time.Minute)
	if again, _ := a.Leaf("good.test"); again == first {
		t.Error("an old leaf is used on")
	}
	for i := range maxLeaves + 10 {
		a.leaves[fmt.Sprint(i)] = first
	}
	_, _ = a.Leaf("new.test")
	if len(a.leaves) > maxLeaves {
		t.Errorf("%d leaves are kept", len(a.leaves))
	}
}

func TestStartsAgreeOnOneAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	var wg sync.WaitGroup
	found := make([]*Authority, 16)
	for i := range found {
		wg.Go(func() { found[i], _ = Open(dir) })
	}
	wg.Wait()
	for _, a := range found {
		if a == nil || !bytes.Equal(a.PEM(), found[0].PEM()) {
			t.Fatal("there are two authorities")
		}
	}
	if leaf, err := mustOpen(t, dir).Leaf("good.test"); err != nil || handshake(t, found[0].PEM(), leaf, "good.test") != nil {
		t.Errorf("after another start: %v", err)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, _ := e.Info(); info.Mode().Perm() != 0o600 || e.Name() != fileName && e.Name() != lockName {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
}

func TestLooseAuthoritiesAreRefused(t *testing.T) {
	tests := map[string]func(dir string) error{
		"the directory is open":  func(dir string) error { return os.Chmod(dir, 0o750) },
		"the file is readable":   func(dir string) error { return os.Chmod(filepath.Join(dir, fileName), 0o604) },
		"the file is group's":    func(dir string) error { return os.Chmod(filepath.Join(dir, fileName), 0o620) },
		"the file is a link":     func(dir string) error { return relink(dir) },
		"the file is empty":      func(dir string) error { return os.WriteFile(filepath.Join(dir, fileName), nil, 0o600) },
		"the key is another one": func(dir string) error { return swapKey(t, dir) },
	}
	for name, loosen := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ca")
			mustOpen(t, dir)
			mustOpen(t, dir) // control
			if err := loosen(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir); err == nil {
				t.Error("it is used")
			}
		})
	}
}

func relink(dir string) error {
	real := filepath.Join(filepath.Dir(dir), "real.pem")
	if err := os.Rename(filepath.Join(dir, fileName), real); err != nil {
		return err
	}
	return os.Symlink(real, filepath.Join(dir, fileName))
}

func swapKey(t *testing.T, dir string) error {
	other, err := generate(time.Now())
	if err != nil {
		return err
	}
	mine, err := open(dir)
	if err != nil {
		return err
	}
	mine.key = other.key
	content, err := mine.encode()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fileName), content, 0o600)
}

func TestWhatAKilledStartLeftIsReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, newName), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := mustOpen(t, dir)
	old, err := generate(time.Now().Add(-authorityLife))
	if err != nil {
		t.Fatal(err)
	}
	content, _ := old.encode()
	if err := os.WriteFile(filepath.Join(dir, fileName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if next := mustOpen(t, dir); next.installation.Equal(old.cert) || next.installation.Equal(first.installation) {
		t.Error("an authority at its end is used on")
	}
}
