// Package certs is the certificate authority with which bailey opens the TLS of its own sandboxes. Each
// installation has one. Its key never leaves the host's directory, and is read only to sign the authority of one
// sandbox for some days; sandboxes get the certificate, and nothing on the host trusts it.
package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// sandboxLife is how long a sandbox's own authority is valid; at half of it there is a new one.
	sandboxLife = 7 * 24 * time.Hour
	// leafLife is how long a leaf is valid; at half of it there is a new one.
	leafLife = 12 * time.Hour
	// backdate is for clocks inside that run late, as a restored machine's does.
	backdate = time.Hour
	// maxLeaves bounds the cache. Under a wildcard rule a sandbox can make up names without end.
	maxLeaves = 1024
)

// Authority signs leaves for the hosts of one sandbox, in the name of the installation. It does not have the
// installation's key. Open makes one; it may be used from any goroutine.
type Authority struct {
	dir          string
	installation *x509.Certificate

	mu     sync.Mutex
	cert   *x509.Certificate // the sandbox's own, signed by the installation's key
	key    *ecdsa.PrivateKey // its, and the leaves'; neither is ever written down
	own    *ecdsa.PrivateKey
	leaves map[string]*tls.Certificate
}

// PEM is the installation's certificate, for trust stores.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: a.installation.Raw})
}

// Leaf returns a certificate for host, a canonical name or address. Whoever asks has asked the policy first.
func (a *Authority) Leaf(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if leaf := a.leaves[host]; leaf != nil && now.Before(leaf.Leaf.NotAfter.Add(-leafLife/2)) {
		return leaf, nil
	}
	if err := a.renew(now); err != nil && !now.Before(a.cert.NotAfter) {
		return nil, err
	}
	leaf, err := a.sign(host, now)
	if err != nil {
		return nil, fmt.Errorf("cannot make a certificate for %s: %w", host, err)
	}
	if a.leaves == nil || len(a.leaves) >= maxLeaves {
		a.leaves = map[string]*tls.Certificate{}
	}
	a.leaves[host] = leaf
	return leaf, nil
}

// renew makes the sandbox's authority anew when its end is near. For that the installation's key is read again.
func (a *Authority) renew(now time.Time) error {
	if now.Before(a.cert.NotAfter.Add(-sandboxLife / 2)) {
		return nil
	}
	r, err := load(a.dir)
	switch {
	case err != nil:
	case r == nil || !bytes.Equal(r.cert.Raw, a.installation.Raw):
		err = errors.New("the installation has another one by now, and a restart of the sandbox is needed to trust it")
	default:
		err = a.issue(r, now)
	}
	if err != nil {
		return fmt.Errorf("cannot renew the sandbox's certificate authority: %w", err)
	}
	return nil
}

// issue makes the sandbox's authority: for some days, for leaves of servers only, and named after nothing.
func (a *Authority) issue(r *root, now time.Time) error {
	key, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	own, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	template, err := authorityTemplate("bailey sandbox", now, sandboxLife)
	if err != nil {
		return err
	}
	template.MaxPathLenZero = true
	if template.NotAfter.After(r.cert.NotAfter) {
		template.NotAfter = r.cert.NotAfter
	}
	cert, err := create509(template, r.cert, key, r.key)
	if err != nil {
		return err
	}
	a.cert, a.key, a.own, a.leaves = cert, key, own, nil
	return nil
}

// sign makes a leaf. Its subject is empty, since a common name has at most 64 bytes, so the alternative name
// is critical (RFC 5280 section 4.2.1.6).
func (a *Authority) sign(host string, now time.Time) (*tls.Certificate, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	leaf, err := create509(template, a.cert, a.own, a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, a.cert.Raw}, PrivateKey: a.own, Leaf: leaf}, nil
}
