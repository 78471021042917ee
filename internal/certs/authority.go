// Package certs is the certificate authority with which bailey opens the TLS of its own sandboxes. Each
// installation has one. Its key never leaves the host's directory; sandboxes get the certificate, and nothing
// on the host trusts it.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

const (
	// authorityLife is how long the authority is valid, and authorityRest when it is replaced before its end, so
	// that no sandbox that starts now outlives it.
	authorityLife = 5 * 365 * 24 * time.Hour
	authorityRest = 30 * 24 * time.Hour
	// leafLife is how long a leaf is valid; at half of it there is a new one.
	leafLife = 12 * time.Hour
	// backdate is for clocks inside that run late, as a restored machine's does.
	backdate = time.Hour
	// maxLeaves bounds the cache. Under a wildcard rule a sandbox can make up names without end.
	maxLeaves = 1024
)

// Authority signs leaves for hosts. Open makes one; it may be used from any goroutine.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	mu     sync.Mutex
	own    *ecdsa.PrivateKey // the leaves' key; never written down
	leaves map[string]*tls.Certificate
}

// PEM is the certificate, for trust stores.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: a.cert.Raw})
}

// Leaf returns a certificate for host, a canonical name or address. Whoever asks has asked the policy first.
func (a *Authority) Leaf(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if leaf := a.leaves[host]; leaf != nil && now.Before(leaf.Leaf.NotAfter.Add(-leafLife/2)) {
		return leaf, nil
	}
	if a.own == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("cannot make a key: %w", err)
		}
		a.own = key
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

// sign makes a leaf. Its subject is empty, since a common name has at most 64 bytes, so the alternative name
// is critical (RFC 5280 section 4.2.1.6).
func (a *Authority) sign(host string, now time.Time) (*tls.Certificate, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.own.Public(), a.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.own, Leaf: parsed}, nil
}

// generate makes an authority that may sign leaves and nothing else.
func generate(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		// The number keeps the authorities of two installations apart where both are trusted.
		Subject:               pkix.Name{Organization: []string{"bailey"}, CommonName: fmt.Sprintf("bailey sandbox authority %x", serial.Bytes()[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cert: cert, key: key}, err
}

func serialNumber() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and of full length
	return new(big.Int).SetBytes(b), nil
}

// Names of the blocks in the file.
const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// encode is the file's content: both in one, so that they always belong together.
func (a *Authority) encode() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return append(a.PEM(), pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})...), nil
}

// decode reads what encode made.
func decode(b []byte) (*Authority, error) {
	cert, rest := pem.Decode(b)
	key, _ := pem.Decode(rest)
	if cert == nil || cert.Type != certBlock || key == nil || key.Type != keyBlock {
		return nil, errors.New("it is not a certificate and a key")
	}
	parsed, err := x509.ParseCertificate(cert.Bytes)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(key.Bytes)
	if err != nil {
		return nil, err
	}
	own, ok := private.(*ecdsa.PrivateKey)
	if !ok || !own.PublicKey.Equal(parsed.PublicKey) || !parsed.IsCA {
		return nil, errors.New("its key is not that of its certificate")
	}
	return &Authority{cert: parsed, key: own}, nil
}
