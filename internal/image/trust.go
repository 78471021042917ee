package image

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// authorityFile is the authority's certificate alone, for programs that add one to their own list.
const authorityFile = "/etc/ssl/certs/bailey.pem"

// bundles are where programs look for the certificates that they trust, the first one where there is none.
func bundles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Arch, Alpine
		"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // the same, elsewhere
		"/etc/pki/tls/cert.pem",
		"/etc/ssl/cert.pem",
		"/etc/ssl/ca-bundle.pem", // openSUSE
	}
}

// trustEnv names the authority to programs that bring their own list: Python's requests and pip, the AWS tools,
// git with a libcurl that is not the system's, gRPC's core, Node and Bun, Deno. The first is for OpenSSL, whose
// directory of hashed names has only the host's, and for what follows its example.
func trustEnv(bundle string) (env []string) {
	for _, key := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "GIT_SSL_CAINFO", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"} {
		env = append(env, key+"="+bundle)
	}
	return append(env, "NODE_EXTRA_CA_CERTS="+authorityFile, "DENO_CERT="+authorityFile)
}

// fingerprint is the authority's in a manifest, "" for none.
func fingerprint(ca []byte) string {
	if len(ca) == 0 {
		return ""
	}
	sum := sha256.Sum256(ca)
	return hex.EncodeToString(sum[:])
}

// trust makes the copy's programs trust ca, a certificate in PEM, beside what the host trusts, and returns the
// bundle that has both.
func (c *copier) trust(ca []byte) (bundle string, err error) {
	copied := tree(c.into)
	var content []byte // of the bundle
	var done []string
	for _, path := range bundles() {
		c.stamps = append(c.stamps, c.t.stamp(path))
		host, err := c.t.resolve(path)
		if err != nil {
			continue
		}
		c.stamps = append(c.stamps, c.t.stamp(host))
		target, err := copied.resolve(path)
		if err != nil {
			target = path // it leads out of the copy: the link gives way
		}
		whole, err := c.t.readPublic(path)
		if err != nil || slices.Contains(done, target) {
			continue
		}
		if len(whole) > 0 && whole[len(whole)-1] != '\n' {
			whole = append(whole, '\n')
		}
		whole = append(whole, ca...)
		if err := c.put(target, whole); err != nil {
			return "", err
		}
		if len(done) == 0 || target == bundles()[0] {
			bundle, content = target, whole
		}
		done = append(done, target)
	}
	if len(done) == 0 {
		bundle, content = bundles()[0], ca
		if err := c.put(bundle, ca); err != nil {
			return "", err
		}
	}
	if err := c.put(authorityFile, ca); err != nil {
		return "", err
	}
	return bundle, c.putKeystores(content)
}

// put writes a file of our own into the copy, in place of what is there.
func (c *copier) put(path string, content []byte) error {
	dir, err := c.makeDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	file := tree(c.into).at(filepath.Join(dir, filepath.Base(path)))
	if err := os.RemoveAll(file); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}

// makeDir returns where dir is in the copy. What is no directory there gives way to one, a link out of the copy too:
// nothing may be written through it.
func (c *copier) makeDir(dir string) (string, error) {
	copied := tree(c.into)
	if copied.isDir(dir) {
		return copied.resolve(dir)
	}
	parent, err := c.makeDir(filepath.Dir(dir))
	if err != nil {
		return "", err
	}
	dir = filepath.Join(parent, filepath.Base(dir))
	if err := os.RemoveAll(copied.at(dir)); err != nil {
		return "", err
	}
	return dir, os.Mkdir(copied.at(dir), 0o755)
}

// inEtc reports whether path is, in the end, a file that the snapshot has.
func (t tree) inEtc(path string) bool {
	resolved, err := t.resolve(path)
	return err == nil && strings.HasPrefix(resolved, "/etc/")
}
