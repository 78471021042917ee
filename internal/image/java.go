package image

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// keystoreFile is what Java trusts, in the snapshot.
const keystoreFile = "/etc/ssl/certs/bailey.p12"

// keystores are where distributions keep what their JDKs trust; those have links there.
func keystores() []string {
	return []string{
		"/etc/ssl/certs/java/cacerts",                 // Debian, Arch
		"/etc/pki/ca-trust/extracted/java/cacerts",    // Fedora
		"/etc/ca-certificates/extracted/java-cacerts", // Arch, behind the link
		"/etc/pki/java/cacerts",
	}
}

// jdks are JDKs that may have a list of their own, besides those of version managers.
func jdks() []string {
	return []string{"/usr/lib/jvm/*", "/usr/lib64/jvm/*", "/usr/java/*", "/usr/local/*", "/opt/*", "/opt/*/*"}
}

// putKeystores writes what bundle trusts as Java reads it: all of them, since the format has no second file to
// add to. JDK 8u301 and later read a PKCS #12 file without a password, whatever password they are given.
func (c *copier) putKeystores(bundle []byte) error {
	store, err := keystore(bundle)
	if err != nil {
		return fmt.Errorf("cannot make Java's list of authorities: %w", err)
	}
	if err := c.put(keystoreFile, store); err != nil {
		return err
	}
	for _, path := range keystores() {
		c.stamps = append(c.stamps, c.t.stamp(path))
		if _, err := c.t.stat(path); err == nil && c.t.inEtc(path) {
			target, _ := c.t.resolve(path)
			if err := c.put(target, store); err != nil {
				return err
			}
		}
	}
	return nil
}

// keystore turns certificates in PEM into a PKCS #12 trust store. What Go cannot read is left out.
func keystore(bundle []byte) ([]byte, error) {
	var entries []pkcs12.TrustStoreEntry
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			entries = append(entries, pkcs12.TrustStoreEntry{Cert: cert, FriendlyName: fmt.Sprintf("authority %d", len(entries)+1)})
		}
	}
	return pkcs12.Passwordless.EncodeTrustStoreEntries(entries, "")
}

// ownKeystores mounts the keystore over those of JDKs that bring their own.
func (w *tools) ownKeystores(keystore string) {
	var done []string
	for _, pattern := range append(jdks(), w.jdks...) {
		for _, rest := range []string{"lib/security/cacerts", "jre/lib/security/cacerts"} {
			for _, path := range w.t.glob(filepath.Join(pattern, rest)) {
				w.coverKeystore(path, keystore, &done)
			}
		}
	}
}

func (w *tools) coverKeystore(path, keystore string, done *[]string) {
	info, err := w.t.stat(path)
	if err != nil || !info.Mode().IsRegular() || w.t.inEtc(path) {
		return
	}
	// A link within what is shown leads to a file there, which is the one to cover.
	target := path
	if resolved, err := w.t.resolve(path); err == nil && w.visible(filepath.Dir(resolved)) {
		target = resolved
	}
	if slices.Contains(*done, target) || !w.visible(filepath.Dir(target)) {
		return
	}
	*done = append(*done, target)
	w.mounts = append(w.mounts, sandbox.Mount{Kind: sandbox.MountBind, Source: keystore, Target: target, ReadOnly: true})
}
