package main

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// authority signs for the world's servers. Those whose names begin with a fault have certificates with that fault.
type authority struct {
	cert, other *x509.Certificate
	key         *ecdsa.PrivateKey // everybody's
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &authority{key: key}
	for _, c := range []struct {
		cert **x509.Certificate
		name string
	}{{&a.cert, "the world's authority"}, {&a.other, "an authority that nobody knows"}} {
		template := &x509.Certificate{Subject: pkix.Name{CommonName: c.name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		if *c.cert, err = a.sign(template, template); err != nil {
			return nil, err
		}
	}
	return a, os.WriteFile(filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o644)
}

func (a *authority) sign(template, parent *x509.Certificate) (*x509.Certificate, error) {
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// leaf is what a client that asks for name gets.
func (a *authority) leaf(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	fault, _, _ := strings.Cut(hello.ServerName, ".")
	template := &x509.Certificate{DNSNames: []string{hello.ServerName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	parent := a.cert
	switch fault {
	case "self":
		parent = template
	case "expired":
		template.NotBefore, template.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	case "wrong":
		template.DNSNames = []string{"other.test"}
	case "unknown":
		parent = a.other
	}
	cert, err := a.sign(template, parent)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: a.key}, nil
}

func serveWeb(e *events, world *authority) error {
	config := &tls.Config{GetCertificate: world.leaf, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS10}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if strings.HasPrefix(hello.ServerName, "old.") {
			return &tls.Config{GetCertificate: world.leaf, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, nil
		}
		return nil, nil
	}
	server := &http.Server{Handler: web{e}, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: config, MaxHeaderBytes: 16 << 20}
	plain, err1 := net.Listen("tcp", ":80")
	closed, err2 := net.Listen("tcp", ":443")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	go func() { _ = server.Serve(plain) }()
	go func() { _ = server.ServeTLS(closed, "", "") }()
	return nil
}

// web answers every host, as trusting as servers come, and says what it was asked.
type web struct{ e *events }

func (h web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := fmt.Sprint(r.Header)
	h.e.add("request %s host=%s %s headers=%d %s", r.Method, r.Host, r.RequestURI, len(header), header[:min(len(header), 2000)])
	w.Header().Set("Alt-Svc", `h3=":443"; ma=3600`)
	if strings.HasPrefix(r.URL.Path, "/keep/") {
		h.keep(w, r)
		return
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/redirect/"):
		code, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/redirect/"))
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(code)
	case r.URL.Path == "/sum":
		sum := sha256.New()
		n, _ := io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%d %x\n", n, sum.Sum(nil))
	case r.URL.Path == "/slow":
		for range 600 {
			if _, err := io.WriteString(w, "SLOW\n"); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	case strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || strings.EqualFold(r.Header.Get("Upgrade"), "h2c"):
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			h.e.add("upgraded %s", b[:n])
			_, _ = conn.Write(b[:n])
		}
	default:
		fmt.Fprintf(w, "WORLD %s %s%s\n", r.Method, r.Host, r.URL.Path)
	}
}

// keep notes every token of GitHub's look and every access key of Amazon's in a request, and answers as the path says. What it notes is
// "token VALUE to SCHEME://HOST in PLACE".
func (h web) keep(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if z, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
		body, _ = io.ReadAll(io.LimitReader(z, 1<<20))
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	note := func(place, text string) {
		for _, token := range tokens(text) {
			h.e.add("token %s to %s://%s in %s", token, scheme, r.Host, place)
		}
	}
	for _, headers := range []http.Header{r.Header, r.Trailer} {
		for name, values := range headers {
			note(name, strings.Join(values, " "))
		}
	}
	note("the path", r.URL.EscapedPath())
	note("the query", r.URL.RawQuery)
	note("the body", string(body))
	got := r.Header.Get("Authorization")
	switch strings.TrimPrefix(r.URL.Path, "/keep/") {
	case "header":
		w.Header().Set("X-Echo", got)
		w.Header().Set("Set-Cookie", "session="+strings.ReplaceAll(got, " ", "_"))
		w.Header().Set("X-Base64", base64.StdEncoding.EncodeToString([]byte(got)))
	case "split":
		for _, c := range got {
			_, _ = io.WriteString(w, string(c))
			_ = http.NewResponseController(w).Flush()
		}
	case "gzip":
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, got)
		_ = z.Close()
	case "base64":
		_, _ = io.WriteString(w, base64.StdEncoding.EncodeToString([]byte(got)))
	case "escaped":
		_, _ = io.WriteString(w, url.QueryEscape(got)+"\n")
		_ = json.NewEncoder(w).Encode(got)
	case "trailer":
		w.Header().Set("Trailer", "X-Echo")
		_, _ = io.WriteString(w, "an error\n")
		w.Header().Set("X-Echo", got)
	case "lab.git/info/refs":
		if got == "" {
			w.Header().Set("WWW-Authenticate", "Basic realm=git")
			w.WriteHeader(http.StatusUnauthorized)
		}
	default:
		_, _ = io.WriteString(w, got+"\n")
	}
}

// tokens finds what looks like a token of GitHub's or an access key of Amazon's in a text: as it is, percent-encoded, escaped as in JSON, and in
// base64, also where one lies within another.
func tokens(text string) (all []string) {
	look := regexp.MustCompile(`ghp_[0-9A-Za-z]{36}|AKIA[0-9A-Z]{16}`)
	encoded := regexp.MustCompile(`[0-9A-Za-z+/_-]{24,}`)
	escape := regexp.MustCompile(`\\u([0-9a-fA-F]{4})`)
	next := []string{text}
	for range 3 {
		var deeper []string
		for _, s := range next {
			all = append(all, look.FindAllString(s, -1)...)
			if plain, err := url.QueryUnescape(s); err == nil && plain != s {
				deeper = append(deeper, plain)
			}
			deeper = append(deeper, escape.ReplaceAllStringFunc(s, func(e string) string {
				n, _ := strconv.ParseUint(e[2:], 16, 16)
				return string(rune(n))
			}))
			for _, run := range encoded.FindAllString(s, -1) {
				run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
				for skip := range 4 {
					if plain, err := base64.RawStdEncoding.DecodeString(run[skip : skip+(len(run)-skip)/4*4]); err == nil {
						deeper = append(deeper, string(plain))
					}
				}
			}
		}
		next = deeper
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// serveRaw echoes on ports that speak other protocols, to whoever comes.
func serveRaw(e *events) error {
	for _, port := range []string{"22", "25", "853", "3128", "3389", "5432", "8443"} {
		ln, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		accept(ln, func(c net.Conn) {
			e.add("raw %s", c.LocalAddr())
			_, _ = io.WriteString(c, "WORLD\r\n")
			_, _ = io.Copy(c, c)
		})
	}
	return nil
}
