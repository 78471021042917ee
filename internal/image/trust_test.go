package image

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// authority makes a certificate in PEM.
func authority(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestAuthorityIsTrustedBesideTheHosts(t *testing.T) {
	const own = "OWN\n"
	debian := "/etc/ssl/certs/ca-certificates.crt"
	tests := []struct {
		name   string
		host   map[string]string
		files  map[string]string // by their path inside
		bundle string
	}{
		{"Debian", map[string]string{debian: "HOST\n"}, map[string]string{debian: "HOST\nOWN\n"}, debian},
		{"Fedora", map[string]string{"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem": "HOST", "/etc/pki/tls/certs/ca-bundle.crt": "->/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
			"/etc/pki/tls/cert.pem": "->/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs": "->../pki/tls/certs"},
			map[string]string{"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem": "HOST\nOWN\n", "/etc/pki/tls/cert.pem": "HOST\nOWN\n", "/etc/pki/tls/certs/bailey.pem": own},
			"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"},
		{"a link out of /etc", map[string]string{"/usr/share/bundle.crt": "HOST\n", "/etc/ssl/cert.pem": "->/usr/share/bundle.crt"},
			map[string]string{"/etc/ssl/cert.pem": "HOST\nOWN\n"}, "/etc/ssl/cert.pem"},
		{"a directory that is a link out of /etc", map[string]string{"/usr/share/certs/ca-certificates.crt": "HOST\n", "/etc/ssl/certs": "->/usr/share/certs"},
			map[string]string{debian: "HOST\nOWN\n"}, debian},
		{"a host without certificates", nil, map[string]string{debian: own}, debian},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := scratch(t, tt.host)
			if err := os.MkdirAll(dir+"/usr/bin", 0o755); err != nil {
				t.Fatal(err)
			}
			in := input(t, dir, nil)
			in.Authority = []byte(own)
			root, _, env := host(t, in)
			inside := tree(root.Layers[0])
			tt.files[authorityFile] = own
			for path, want := range tt.files {
				if got, err := inside.readFile(path); err != nil || string(got) != want {
					t.Errorf("%s is %q, %v", path, got, err)
				}
			}
			if env["SSL_CERT_FILE"] != tt.bundle || env["NODE_EXTRA_CA_CERTS"] != authorityFile {
				t.Errorf("environment: %v", env)
			}
			for path, content := range tt.host { // the snapshot is written, and nothing through its links
				if got, err := os.ReadFile(dir + path); !strings.HasPrefix(content, "->") && (err != nil || string(got) != content) {
					t.Errorf("the host's %s has become %q, %v", path, got, err)
				}
			}
		})
	}
}

func TestWhatIsTrustedFollowsTheAuthority(t *testing.T) {
	dir := scratch(t, map[string]string{"/usr/bin/": "", "/etc/ssl/certs/ca-certificates.crt": "HOST\n"})
	in := input(t, dir, nil)
	bundle := func(ca string) (text, layer string) {
		in.Authority = []byte(ca)
		root, _, env := host(t, in)
		if (env["SSL_CERT_FILE"] != "") != (ca != "") {
			t.Errorf("with the authority %q the environment is %v", ca, env)
		}
		text, _ = file(root, "/etc/ssl/certs/ca-certificates.crt")
		return text, root.Layers[0]
	}
	if text, _ := bundle(""); text != "HOST\n" {
		t.Errorf("without an authority it is %q", text)
	}
	text, first := bundle("ONE\n")
	if text != "HOST\nONE\n" {
		t.Errorf("with an authority it is %q", text)
	}
	for _, ca := range []string{"ONE\n", ""} {
		if _, again := bundle(ca); again != first {
			t.Errorf("with %q it is copied anew", ca)
		}
	}
	if text, _ := bundle("TWO\n"); text != "HOST\nTWO\n" {
		t.Errorf("with another authority it is %q", text)
	}
	if err := os.WriteFile(dir+"/etc/ssl/certs/ca-certificates.crt", []byte("HOST, changed in place\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, _ := bundle("TWO\n"); !strings.Contains(text, "in place") {
		t.Errorf("after a change it is %q", text)
	}
}

func TestJavaTrustsTheSame(t *testing.T) {
	dir := scratch(t, map[string]string{
		"/usr/bin/": "", "/etc/ssl/certs/ca-certificates.crt": authority(t, "one") + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + authority(t, "two"),
		"/etc/ssl/certs/java/cacerts":                                      "JKS",
		"/usr/lib/jvm/debian/lib/security/cacerts":                         "->/etc/ssl/certs/java/cacerts",
		"/usr/lib/jvm/vendor/lib/security/cacerts":                         "JKS",
		"/usr/lib/jvm/default":                                             "->vendor",
		"/opt/jdk8/jre/lib/security/cacerts":                               "JKS",
		"/srv/jdk/lib/security/cacerts":                                    "JKS",
		"/home/ada/.sdkman/candidates/java/21/lib/security/cacerts":        "JKS",
		"/home/ada/.sdkman/candidates/java/21/bin/java":                    "",
		"/home/ada/.sdkman/candidates/java/current":                        "->21",
		"/home/ada/.local/share/mise/installs/java/9/lib/security/cacerts": "JKS",
	})
	in := input(t, dir, map[string]string{"PATH": "/home/ada/.sdkman/candidates/java/current/bin"})
	covered := func() (root sandbox.Root, targets []string) {
		root, mounts, _ := host(t, in)
		for _, m := range mounts {
			if filepath.Base(m.Target) == "cacerts" {
				if m.Source != root.Layers[0]+keystoreFile || !m.ReadOnly {
					t.Errorf("at %s there is %s", m.Target, m.Source)
				}
				targets = append(targets, m.Target)
			}
		}
		return root, targets
	}
	if _, targets := covered(); len(targets) > 0 {
		t.Errorf("without an authority there are mounts at %q", targets)
	}
	in.Authority = []byte(authority(t, "own"))
	root, targets := covered()
	want := []string{"/usr/lib/jvm/vendor/lib/security/cacerts", "/opt/jdk8/jre/lib/security/cacerts", "/home/ada/.sdkman/candidates/java/21/lib/security/cacerts"}
	slices.Sort(targets)
	slices.Sort(want)
	if !slices.Equal(targets, want) {
		t.Errorf("mounts at %q", targets)
	}
	store, _ := file(root, "/etc/ssl/certs/java/cacerts")
	certs, err := pkcs12.DecodeTrustStore([]byte(store), "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range certs {
		names = append(names, c.Subject.CommonName)
	}
	if !slices.Equal(names, []string{"one", "two", "own"}) {
		t.Errorf("it trusts %q", names)
	}
}
