package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

const (
	// authorityLife is how long the installation's authority is valid, and authorityRest when it is replaced before
	// its end, so that no sandbox that starts now outlives it.
	authorityLife = 5 * 365 * 24 * time.Hour
	authorityRest = 30 * 24 * time.Hour
)

// root is the installation's authority. It is held for the moment of signing only.
type root struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// usable says whether r can sign what starts now. Earlier versions made authorities that could sign leaves only.
func (r *root) usable(now time.Time) bool {
	return now.Before(r.cert.NotAfter.Add(-authorityRest)) && r.cert.MaxPathLen > 0
}

// generate makes an authority that may sign those of sandboxes.
func generate(now time.Time) (*root, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := authorityTemplate("bailey sandbox authority", now, authorityLife)
	if err != nil {
		return nil, err
	}
	template.MaxPathLen = 1
	cert, err := create509(template, template, key, key)
	if err != nil {
		return nil, err
	}
	return &root{cert, key}, nil
}

// authorityTemplate is an authority for servers' certificates and nothing else.
func authorityTemplate(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		// The number keeps the authorities of two installations apart where both are trusted.
		Subject:               pkix.Name{Organization: []string{"bailey"}, CommonName: fmt.Sprintf("%s %x", name, serial.Bytes()[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil
}

// create509 makes the certificate of key's owner, signed by parent's key.
func create509(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
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
func (r *root) encode() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(r.key)
	if err != nil {
		return nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: r.cert.Raw})
	return append(cert, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})...), nil
}

// decode reads what encode made.
func decode(b []byte) (*root, error) {
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
	return &root{cert: parsed, key: own}, nil
}
