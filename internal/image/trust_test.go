package image

import (
	"slices"
	"testing"
)

func TestAuthorityIsTrustedBesideTheHosts(t *testing.T) {
	const own = "OWN\n"
	tests := []struct {
		name   string
		host   map[string]string
		files  map[string]string // by their path inside
		bundle string
	}{
		{"Debian", map[string]string{"/etc/ssl/certs/ca-certificates.crt": "HOST\n"},
			map[string]string{"/etc/ssl/certs/ca-certificates.crt": "HOST\nOWN\n"}, "/etc/ssl/certs/ca-certificates.crt"},
		{"Fedora", map[string]string{"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem": "HOST", "/etc/pki/tls/certs/ca-bundle.crt": "->/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
			"/etc/pki/tls/cert.pem": "->/etc/pki/tls/certs/ca-bundle.crt"},
			map[string]string{"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem": "HOST\nOWN\n"}, "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"},
		{"a link out of /etc", map[string]string{"/usr/share/bundle.crt": "HOST\n", "/etc/ssl/cert.pem": "->/usr/share/bundle.crt"},
			map[string]string{"/etc/ssl/cert.pem": "HOST\nOWN\n"}, "/etc/ssl/cert.pem"},
		{"a host without certificates", nil,
			map[string]string{"/etc/ssl/certs/ca-certificates.crt": own}, "/etc/ssl/certs/ca-certificates.crt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.files[authorityFile] = own
			files, env := trusting(tree(scratch(t, tt.host)), []byte(own))
			if len(files) != len(tt.files) {
				t.Errorf("%d files, want %d", len(files), len(tt.files))
			}
			for _, f := range files {
				if want, ok := tt.files[f.Target]; !ok || string(f.Content) != want {
					t.Errorf("%s is %q", f.Target, f.Content)
				}
			}
			if !slices.Contains(env, "SSL_CERT_FILE="+tt.bundle) {
				t.Errorf("environment: %v", env)
			}
		})
	}
	if files, env := trusting(tree(scratch(t, nil)), nil); len(files)+len(env) > 0 {
		t.Errorf("without an authority: %v, %v", files, env)
	}
}
