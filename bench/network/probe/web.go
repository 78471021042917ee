package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"
)

// webName is the host that a web probe is, inside a sandbox and outside.
const webName = "host.bailey.internal"

// secret is the token that the web takes; a request may also come without one.
const secret = "the-secret-of-" + webName

// web serves HTTP/1 in TLS: bulk bytes to a GET of /down, a model's answer to a POST below /v1, one byte to everything
// else, when its body has arrived.
func web(file string) error {
	identity, err := makeIdentity(file)
	if err != nil {
		return err
	}
	return serveTLS(identity, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := r.Header.Get("Authorization"); h != "" && h != "Bearer "+secret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/down" {
			w.Header().Set("Content-Length", fmt.Sprint(bulk))
			_ = fill(w)
			return
		}
		if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r.Body}, chunk()); err != nil {
			return
		}
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			speak(w)
			return
		}
		_, _ = io.WriteString(w, "x")
	}))
}

// proxy is the plainest proxy that opens TLS and closes it again.
func proxy(file, address string) error {
	identity, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(identity.Leaf)
	upstream := &http.Transport{TLSClientConfig: &tls.Config{ServerName: webName, RootCAs: roots}, MaxIdleConnsPerHost: clients}
	return serveTLS(identity, &httputil.ReverseProxy{Transport: upstream, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: address}) }})
}

func serveTLS(identity tls.Certificate, h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	return server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{identity}, NextProtos: []string{"http/1.1"}}))
}

// makeIdentity writes a certificate for webName, which is its own authority, and its key to file.
func makeIdentity(file string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{webName}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	cert, err1 := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2); err != nil {
		return tls.Certificate{}, err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(text, text)
}
