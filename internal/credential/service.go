package credential

import (
	"slices"

	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// Service is somebody who gives out secrets of a known look, for known hosts.
type Service struct {
	Name     string // also the usual name of its secret
	Title    string
	Bindings []Binding
	// Env lists the variables in which programs take the secret, the usual one first. Inside, each holds the
	// placeholder. Logins have none: package oauth keeps them alive.
	Env []string
	// Parts says that each variable has one part of a secret whose parts stand between colons.
	Parts bool
	// BaseURL is the variable that points programs at another server, which then is who gets the secret.
	BaseURL string
	// GitUser is the user's name with which git sends the secret as password. "" is for services without git.
	GitUser string
	Shape   Shape
}

// Services returns the services that are known without configuration.
func Services() []Service {
	return []Service{
		{Name: "anthropic", Title: "Anthropic", Env: []string{"ANTHROPIC_API_KEY"}, BaseURL: "ANTHROPIC_BASE_URL",
			Bindings: bound([]string{"header:X-Api-Key", "bearer"}, "api.anthropic.com"),
			Shape:    Shape{Prefix: "sk-ant-api03-", Length: 93, Suffix: "AA", Alphabet: base64URL}},
		{Name: "anthropic-token", Title: "Anthropic, by a token for Claude Code", Env: []string{"CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"}, BaseURL: "ANTHROPIC_BASE_URL",
			Bindings: bound([]string{"bearer"}, "api.anthropic.com"),
			Shape:    Shape{Prefix: "sk-ant-oat01-", Length: 93, Suffix: "AA", Alphabet: base64URL}},
		{Name: "claude-login", Title: "a login to Claude",
			Bindings: bound([]string{"bearer"}, "api.anthropic.com"),
			Shape:    Shape{Prefix: "sk-ant-oat01-", Length: 93, Suffix: "AA", Alphabet: base64URL}},
		{Name: "codex-login", Title: "a ChatGPT account, for Codex",
			Bindings: bound([]string{"bearer"}, "chatgpt.com"),
			Shape:    Shape{Prefix: jwtHead, Length: 342, Alphabet: base64URL}},
		{Name: "gemini-login", Title: "a Google account, for Gemini CLI",
			Bindings: bound([]string{"bearer"}, "cloudcode-pa.googleapis.com", "oauth2.googleapis.com"),
			Shape:    Shape{Prefix: "ya29.a0", Length: 210, Alphabet: base64URL}},
		{Name: "openai", Title: "OpenAI", Env: []string{"OPENAI_API_KEY"}, BaseURL: "OPENAI_BASE_URL",
			Bindings: bound([]string{"bearer"}, "api.openai.com"),
			Shape:    Shape{Prefix: "sk-proj-", Length: 148, Alphabet: base64URL}},
		{Name: "google", Title: "Google Gemini", Env: []string{"GEMINI_API_KEY"}, BaseURL: "GOOGLE_GEMINI_BASE_URL",
			Bindings: bound([]string{"header:X-Goog-Api-Key", "query:key"}, "generativelanguage.googleapis.com"),
			Shape:    Shape{Prefix: "AIza", Length: 35, Alphabet: base64URL}},
		{Name: "openrouter", Title: "OpenRouter", Env: []string{"OPENROUTER_API_KEY"},
			Bindings: bound([]string{"bearer"}, "openrouter.ai"),
			Shape:    Shape{Prefix: "sk-or-v1-", Length: 64, Alphabet: lowerHex}},
		{Name: "opencode", Title: "OpenCode", Env: []string{"OPENCODE_API_KEY"},
			Bindings: bound([]string{"bearer"}, "opencode.ai"),
			Shape:    Shape{Prefix: "sk-", Length: 64, Alphabet: base62}},
		{Name: "github", Title: "GitHub", Env: []string{"GH_TOKEN", "GITHUB_TOKEN"}, GitUser: "x-access-token",
			Bindings: append(bound([]string{"bearer", "header:Authorization:token {}", "basic"}, "api.github.com", "uploads.github.com"),
				bound([]string{"basic", "bearer"}, "github.com", "ghcr.io")...),
			Shape: Shape{Prefix: "ghp_", Length: 36, Alphabet: base62}},
		{Name: "gitlab", Title: "GitLab", Env: []string{"GITLAB_TOKEN"}, GitUser: "oauth2",
			Bindings: bound([]string{"header:Private-Token", "bearer", "basic"}, "gitlab.com"),
			Shape:    Shape{Prefix: "glpat-", Length: 20, Alphabet: base64URL}},
		{Name: "npm", Title: "npm", Env: []string{"NPM_TOKEN", "NODE_AUTH_TOKEN"},
			Bindings: bound([]string{"bearer"}, "*.npmjs.org"),
			Shape:    Shape{Prefix: "npm_", Length: 36, Alphabet: base62}},
		{Name: "aws", Title: "Amazon Web Services", Env: []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, Parts: true,
			Bindings: bound([]string{"sigv4"}, "*.amazonaws.com"),
			Shape:    awsShape()},
		{Name: "pypi", Title: "PyPI", Env: []string{"UV_PUBLISH_TOKEN", "TWINE_PASSWORD"},
			Bindings: bound([]string{"basic"}, "upload.pypi.org"),
			Shape:    Shape{Prefix: "pypi-AgEIcHlwaS5vcmc", Length: 140, Alphabet: base64URL}},
	}
}

// jwtHead is the first two parts of a JSON Web Token, {"alg":"RS256","typ":"JWT"} and {"exp":4102444800}: programs ask
// when it ends, and that is not while it stands for one that is renewed outside.
const jwtHead = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDB9."

// ServiceNames returns their names, in that order.
func ServiceNames() []string {
	var names []string
	for _, s := range Services() {
		names = append(names, s.Name)
	}
	return names
}

// FindService returns the service called name.
func FindService(name string) (Service, bool) {
	for _, s := range Services() {
		if s.Name == name {
			return s, true
		}
	}
	return Service{}, false
}

// ServiceOf returns the service whose whole secret programs take in a variable of that name.
func ServiceOf(variable string) (Service, bool) {
	for _, s := range Services() {
		if slices.Contains(s.Env, variable) && !s.Parts {
			return s, true
		}
	}
	return Service{}, false
}

func awsShape() Shape {
	key, secretKey := AWSKeyID(), AWSKey()
	key.Then = &secretKey
	return key
}

// bound binds to hosts in places. A typing error in them gives what matches nothing, and a test finds it.
func bound(places []string, hosts ...string) []Binding {
	var as []Place
	for _, text := range places {
		p, _ := ParsePlace(text)
		as = append(as, p)
	}
	var bindings []Binding
	for _, host := range hosts {
		pattern, _ := hostname.ParsePattern(host)
		bindings = append(bindings, Binding{Host: pattern, Port: 443, As: as})
	}
	return bindings
}
