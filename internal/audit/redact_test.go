package audit

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// secret is a token of that many characters that chance might have made.
func secret(n int) string {
	return strings.Repeat("aB3xK9pQ2mZ7", 20)[:n]
}

func TestRedactPathHidesSecrets(t *testing.T) {
	for name, tt := range map[string]struct{ path, want string }{
		"an OpenAI key":               {"/v1/keys/sk-" + secret(48), "/v1/keys/{redacted}"},
		"a newer one":                 {"/v1/sk-proj-" + secret(20) + "_" + secret(20), "/v1/{redacted}"},
		"one of small letters":        {"/v1/sk-" + strings.Repeat("ab12", 8), "/v1/{redacted}"},
		"an Anthropic key":            {"/keys/sk-ant-api03-" + secret(40) + "/x", "/keys/{redacted}/x"},
		"a GitHub token":              {"/t/ghp_" + secret(36), "/t/{redacted}"},
		"a GitHub app's token":        {"/t/ghs_" + secret(36), "/t/{redacted}"},
		"a GitHub OAuth token":        {"/t/gho_" + secret(36), "/t/{redacted}"},
		"a fine-grained GitHub token": {"/t/github_pat_" + secret(22) + "_" + secret(59), "/t/{redacted}"},
		"a GitLab token":              {"/t/glpat-" + secret(20), "/t/{redacted}"},
		"a Slack token":               {"/t/xoxb-1234567890-" + secret(24), "/t/{redacted}"},
		"an AWS key id":               {"/t/AKIAIOSFODNN7EXAMPLE", "/t/{redacted}"},
		"an npm token":                {"/t/npm_" + secret(36), "/t/{redacted}"},
		"a Google key":                {"/t/AIza" + secret(35), "/t/{redacted}"},
		"a JWT":                       {"/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0." + secret(43), "/t/{redacted}"},
		"a Telegram bot's":            {"/bot123456789:AAE" + secret(32) + "/sendMessage", "/{redacted}/sendMessage"},
		"one with an escaped colon":   {"/bot123456789%3AAAE" + secret(32) + "/getMe", "/{redacted}/getMe"},
		"a Telegram file":             {"/file/bot123456789:AAE" + secret(32) + "/photos/1.jpg", "/file/{redacted}/photos/1.jpg"},
		"a Slack web hook":            {"/services/T00000000/B00000000/" + strings.Repeat("x", 24), "/services/T00000000/B00000000/{redacted}"},
		"a Discord web hook":          {"/api/webhooks/123456789012345678/" + strings.Repeat("abc-def_", 8), "/api/webhooks/123456789012345678/{redacted}"},
		"a token within a segment":    {"/a;token=ghp_" + secret(36) + ";b/c", "/{redacted}/c"},
		"a token behind a slash":      {"/a%2Fghp_" + secret(36), "/{redacted}"},
		"a token with escapes in it":  {"/ghp%5F" + secret(36), "/{redacted}"},
		"a token without a shape":     {"/x/" + secret(32), "/x/{redacted}"},
		"one in base64 for URLs":      {"/x/q-" + secret(9) + "_" + secret(9) + "-" + secret(12), "/x/{redacted}"},
		"two of them":                 {"/" + secret(24) + "/a/" + secret(24), "/{redacted}/a/{redacted}"},
		"one in what is no escape":    {"/%zz" + secret(32), "/{redacted}"},
	} {
		if got := RedactPath(tt.path); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestRedactPathLeavesWhatIsNone(t *testing.T) {
	for _, path := range []string{
		"", "/", "*", "/v1/messages", "/v1/chat/completions", "//a///b/",
		"/repos/acme/shop/commits/0123456789abcdef0123456789abcdef01234567",
		"/repos/acme/shop/git/refs/heads/feature/ABC-123_Make-It-Work",
		"/v2/library/alpine/blobs/sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"/sha512-upper/0123456789ABCDEF0123456789ABCDEF01234567",
		"/items/123e4567-e89b-12d3-a456-426614174000", "/items/01ARZ3NDEKTSV4RRFFQ69G5FAV",
		"/@scope%2fname", "/@types/node/-/node-20.11.30.tgz", "/lodash/-/lodash-4.17.21.tgz",
		"/packages/ab/cd/PyYAML-6.0.1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
		"/packages/6d/64/opencv_python_headless-4.9.0.80-cp37-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
		"/golang.org/x/net/@v/v0.0.0-20240102030405-0123456789ab.zip", "/github.com/!burnt!sushi/toml/@v/list",
		"/org/springframework/AbstractSingletonProxyFactoryBean2Test.java", "/dist/v22.1.0/node-v22.1.0-linux-x64.tar.xz",
		"/debian/pool/main/l/linux/linux-image-6.1.0-18-amd64-unsigned_6.1.76-1_amd64.deb",
		"/Python-3.12.0rc1/Python-3.12.0rc1-Linux-x86_64-MUSL.tar.xz", "/2026-01-02T03:04:05Z", "/20260102T030405Z/x",
		"/docs/HowToWriteAVeryLongDocumentNameIn3Steps", "/sk-learn/sk-ecosystem-toolkit-core-extras-1.2.3", "/services/a/b/c",
		"/npm_config_registry", "/webhooks/12/deliveries", "/hooks/pre-commit-configuration-file-2024",
	} {
		if got := RedactPath(path); got != path || !Whole(got) {
			t.Errorf("%s became %s", path, got)
		}
	}
}

// What is redacted is the whole path's, before it is cut, and is nowhere else in the line.
func TestSecretsInPathsAreNotInLines(t *testing.T) {
	token := "ghp_" + secret(36)
	for _, path := range []string{strings.Repeat("/"+token, 95) + strings.Repeat("/a", 20) + "/" + token + strings.Repeat("/a", 9000), "/" + token + strings.Repeat("x", 60000), "/" + token, strings.Repeat("/a", maxText/2-10) + "/" + token, "/" + token + strings.Repeat("/a", 5000)} {
		text, err := line(Event{Kind: KindRequest, Method: "GET", Path: path})
		var e Event
		if err := errors.Join(err, json.Unmarshal(text, &e)); err != nil || strings.Contains(string(text), token[:10]) {
			t.Errorf("%s, %v", text, err)
		}
		if long := len(path) > 4*maxText; long != strings.HasSuffix(e.Path, Cut) || Whole(e.Path) {
			t.Errorf("of %d bytes it has %s", len(path), e.Path)
		}
	}
}

func FuzzRedactPath(f *testing.F) {
	f.Add("/bot123456789:AAE" + secret(32) + "/sendMessage")
	f.Add("/a%2Fghp_" + secret(36) + "//" + secret(30))
	f.Fuzz(func(t *testing.T, path string) {
		got := RedactPath(path)
		if strings.Count(got, "/") != strings.Count(path, "/") {
			t.Fatalf("%q has other segments than %q", got, path)
		}
		if again := RedactPath(got); again != got {
			t.Fatalf("%q becomes %q, and that %q", path, got, again)
		}
		for i, segment := range strings.Split(path, "/") {
			if s := strings.Split(got, "/")[i]; s != segment && s != Redacted {
				t.Fatalf("%q becomes %q", segment, s)
			}
		}
		// Behind a slash, a token is found whatever stands around it.
		if !strings.Contains(RedactPath(path+"/ghp_"+secret(36)+"/x"), Redacted+"/x") {
			t.Fatalf("a token behind %q is not found", path)
		}
	})
}
