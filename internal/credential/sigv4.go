package credential

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// How Amazon's requests are signed: "Signature Version 4" in the reference of AWS's APIs.
const (
	sigAlgorithm = "AWS4-HMAC-SHA256"
	// unsigned says that the signature does not cover the body. Over TLS that is as good.
	unsigned         = "UNSIGNED-PAYLOAD"
	unsignedTrailers = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	// maxUnhashed bounds a body that has to be read before its request can be signed, because the client has not sent its
	// hash, in bytes.
	maxUnhashed = 16 << 20
)

// signature is a request's Authorization header.
type signature struct {
	key, date, region, service string
	headers                    []string // that are signed, lower case
	hex                        string
}

// parseSignature reads one. It is not ok when the header is no such signature at all.
func parseSignature(value string) (s signature, ok bool, err error) {
	rest, ok := strings.CutPrefix(value, sigAlgorithm+" ")
	if !ok {
		return signature{}, false, nil
	}
	malformed := errors.New("its signature cannot be read")
	seen := map[string]bool{}
	for part := range strings.SplitSeq(rest, ",") {
		name, text, _ := strings.Cut(strings.TrimSpace(part), "=")
		if seen[name] {
			return signature{}, true, malformed
		}
		seen[name] = true
		switch name {
		case "Credential":
			scope := strings.Split(text, "/")
			if len(scope) != 5 || scope[4] != "aws4_request" {
				return signature{}, true, malformed
			}
			s.key, s.date, s.region, s.service = scope[0], scope[1], scope[2], scope[3]
		case "SignedHeaders":
			s.headers = strings.Split(text, ";")
		case "Signature":
			s.hex = text
		default:
			return signature{}, true, malformed
		}
	}
	sorted := slices.IsSorted(s.headers) && len(slices.Compact(slices.Clone(s.headers))) == len(s.headers)
	if s.key == "" || s.hex == "" || !sorted || !slices.Contains(s.headers, "host") || strings.ToLower(strings.Join(s.headers, "")) != strings.Join(s.headers, "") {
		return signature{}, true, malformed
	}
	return s, true, nil
}

// scope is what the key that signs is made for.
func (s signature) scope() string {
	return s.date + "/" + s.region + "/" + s.service + "/aws4_request"
}

// sign is the signature of r, whose body has that hash, by secret.
func (s signature) sign(r *http.Request, secret, bodyHash string, doubled bool) string {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if doubled {
		segments := strings.Split(path, "/")
		for i := range segments {
			segments[i] = awsEscape(segments[i])
		}
		path = strings.Join(segments, "/")
	}
	var headers strings.Builder
	for _, name := range s.headers {
		headers.WriteString(name + ":" + signedValue(r, name) + "\n")
	}
	request := strings.Join([]string{r.Method, path, canonicalQuery(r.URL.RawQuery), headers.String(), strings.Join(s.headers, ";"), bodyHash}, "\n")
	sum := sha256.Sum256([]byte(request))
	text := strings.Join([]string{sigAlgorithm, r.Header.Get("X-Amz-Date"), s.scope(), hex.EncodeToString(sum[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.date, s.region, s.service, "aws4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return hex.EncodeToString(key)
}

// signedValue is a header as it is signed.
func signedValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	var values []string
	for _, v := range r.Header.Values(name) {
		values = append(values, strings.Join(strings.Fields(v), " "))
	}
	return strings.Join(values, ",")
}

func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var parameters []string
	for p := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(p, "=")
		name, err1 := url.PathUnescape(name) // "+" is a plus here
		value, err2 := url.PathUnescape(value)
		if err1 != nil || err2 != nil {
			return raw
		}
		parameters = append(parameters, awsEscape(name)+"="+awsEscape(value))
	}
	slices.Sort(parameters)
	return strings.Join(parameters, "&")
}

// awsEscape escapes all but RFC 3986's unreserved characters.
func awsEscape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte(base64URL+".~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// takeSignature notes the signature of a request that is made with the placeholder of some secret, or refuses it.
func (x *Exchange) takeSignature(value string) (taken bool, refusal *Refusal) {
	s, ok, err := parseSignature(value)
	if !ok {
		return false, nil
	}
	x.places(func(b boundSecret, _ Binding, p Place) {
		if !p.SigV4 || taken {
			return
		}
		key, _, _ := strings.Cut(b.Placeholder, ":")
		inScope := p.Scope == "" || p.Scope == s.region+"/"+s.service
		switch {
		case err != nil:
			refusal = &Refusal{Secret: b.Name, Reason: "the request to " + x.target.String() + " is signed, but " + err.Error()}
		case key == s.key && !inScope:
			refusal = &Refusal{Secret: b.Name, Reason: fmt.Sprintf("the secret %s signs requests for %s, and this one is for %s/%s", b.Name, p.Scope, s.region, s.service)}
		case key == s.key:
			taken, refusal = true, nil
			x.swaps = append(x.swaps, swap{secret: b.Secret, place: p, signature: &s})
		}
	})
	return taken, refusal
}

// resign checks that r was signed with the placeholder, and signs it with the secret's value. What was changed after it
// was signed is refused: before anything is sent, or while the body is.
func (x *Exchange) resign(r *http.Request, s swap, value string) error {
	refuse := func(reason string) error {
		return &Refusal{Secret: s.secret.Name, Reason: "the request to " + x.target.String() + " is signed, but " + reason}
	}
	real := strings.Split(value, ":")
	_, placeholder, _ := strings.Cut(s.secret.Placeholder, ":")
	if len(real) < 2 || len(real) > 3 {
		return &UnavailableError{Secret: s.secret.Name, Err: errors.New("it is not ACCESS_KEY_ID:SECRET_ACCESS_KEY or that with :SESSION_TOKEN")}
	}
	for _, part := range real {
		x.k.cfg.Memory.learn(s.secret.Name, s.secret.Placeholder, part)
	}
	bodyHash := r.Header.Get("X-Amz-Content-Sha256")
	switch {
	case bodyHash == "":
		body, err := readWhole(r, maxUnhashed)
		if err != nil {
			return refuse(err.Error())
		}
		sum := sha256.Sum256(body)
		bodyHash = hex.EncodeToString(sum[:])
	case bodyHash == unsigned, bodyHash == unsignedTrailers:
	case strings.HasPrefix(bodyHash, "STREAMING-"):
		return refuse("each piece of its body as well, which cannot be done anew: let the client send " + unsigned)
	case r.Body != nil && r.Body != http.NoBody:
		r.Body = &hashedBody{ReadCloser: r.Body, x: x, hash: sha256.New(), want: bodyHash, refusal: refuse("its body is another one").(*Refusal)}
	}
	doubled := true // what all services but S3 do
	if !hmac.Equal([]byte(s.signature.sign(r, placeholder, bodyHash, doubled)), []byte(s.signature.hex)) {
		doubled = false
		if !hmac.Equal([]byte(s.signature.sign(r, placeholder, bodyHash, doubled)), []byte(s.signature.hex)) {
			return refuse("its signature is not its own")
		}
	}
	anew := *s.signature
	anew.key = real[0]
	r.Header.Del("X-Amz-Security-Token")
	anew.headers = slices.DeleteFunc(slices.Clone(anew.headers), func(name string) bool { return name == "x-amz-security-token" })
	if len(real) == 3 {
		r.Header.Set("X-Amz-Security-Token", real[2])
		anew.headers = append(anew.headers, "x-amz-security-token")
		slices.Sort(anew.headers)
	}
	r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s", sigAlgorithm, anew.key, anew.scope(), strings.Join(anew.headers, ";"), anew.sign(r, real[1], bodyHash, doubled)))
	return nil
}

// readWhole reads r's body, and gives r one that has been read.
func readWhole(r *http.Request, most int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	closeErr := r.Body.Close()
	if err = errors.Join(err, closeErr); err != nil {
		return nil, err
	}
	if int64(len(body)) > most {
		return nil, fmt.Errorf("its body is longer than %d bytes, and it does not say its hash", most)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return body, nil
}

// hashedBody fails at its end when it is not what was signed.
type hashedBody struct {
	io.ReadCloser
	x       *Exchange
	hash    hash.Hash
	want    string
	refusal *Refusal
}

func (b *hashedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.hash.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(b.hash.Sum(nil)) != strings.ToLower(b.want) {
		b.x.refused.Store(b.refusal)
		return 0, b.refusal
	}
	return n, err
}
