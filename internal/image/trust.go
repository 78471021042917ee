package image

import (
	"slices"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
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

// trusting makes the sandbox's programs trust ca, a certificate in PEM, beside what the host trusts. Most read a
// bundle. The variables are for those that bring their own list: Node and Bun, Deno, Python's certifi, the AWS
// tools; and for OpenSSL, whose directory of hashed names has only the host's.
func trusting(t tree, ca []byte) (files []sandbox.File, env []string) {
	if len(ca) == 0 {
		return nil, nil
	}
	add := func(target string, content []byte) {
		files = append(files, sandbox.File{Target: target, Mode: 0o644, Content: append(slices.Clone(content), ca...)})
	}
	var done []string
	for _, bundle := range bundles() {
		target, err := t.resolve(bundle)
		if err != nil {
			continue
		}
		if !strings.HasPrefix(target, "/etc/") {
			target = bundle // the link gives way
		}
		content, err := t.readPublic(bundle)
		if err != nil || slices.Contains(done, target) {
			continue
		}
		if len(content) > 0 && content[len(content)-1] != '\n' {
			content = append(content, '\n')
		}
		add(target, content)
		done = append(done, target)
	}
	bundle := bundles()[0]
	if len(done) == 0 {
		add(bundle, nil)
	} else if !slices.Contains(done, bundle) {
		bundle = done[0]
	}
	add(authorityFile, nil)
	for _, key := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"} {
		env = append(env, key+"="+bundle)
	}
	return files, append(env, "NODE_EXTRA_CA_CERTS="+authorityFile, "DENO_CERT="+authorityFile)
}
