// Package oauth keeps logins (RFC 6749) on the host's side. A login's tokens are one secret of the user's store; a
// Broker gives out the access token and renews it, once for all sandboxes of all processes; an Endpoint stands in a
// sandbox's way to the token endpoint: what a login inside brings is kept on the host, and the program inside gets what
// stands for it. Login logs in before any sandbox exists. It knows no sandbox, and decides nothing about where tokens
// may go: that is package credential's.
package oauth

import (
	"net/url"

	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// Provider is who gives out tokens to an agent's users.
type Provider struct {
	Agent  string // its name
	Secret string // the name of the login in the store, which is a service's, see credential.Services
	// TokenHost and TokenPath are the token endpoint, at port 443. It takes JSON, or a form where Form says so.
	TokenHost hostname.Name
	TokenPath string
	Form      bool
	Refresh   credential.Shape // of refresh tokens; the access token's is the service's
	// Identity says that the agent reads in the answer's id_token whose login it is.
	Identity bool

	AuthorizeURL string
	ClientID     string
	// ClientSecret is none: whoever has the agent's program has it (RFC 8252, section 8.5).
	ClientSecret string
	// RedirectURL is a page that shows the code to copy, or one of this machine, which Receive serves.
	RedirectURL string
	// Bare says that the page shows the code without the login's state. That the code is of this login the provider finds
	// by the challenge (RFC 7636).
	Bare   bool
	Scopes []string
	Extra  url.Values // what else the page is asked with
}

// Providers returns those that are known, each with the version of the agent in which it was seen.
func Providers() []Provider {
	return []Provider{{
		// Claude Code 2.1.332.
		Agent: "claude", Secret: "claude-login",
		TokenHost: "platform.claude.com", TokenPath: "/v1/oauth/token",
		Refresh:      credential.Shape{Prefix: "sk-ant-ort01-", Length: 93, Suffix: "AA"},
		AuthorizeURL: "https://claude.com/cai/oauth/authorize", ClientID: "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
		RedirectURL: "https://platform.claude.com/oauth/code/callback",
		Scopes:      []string{"user:inference", "user:profile", "user:sessions:claude_code"},
		Extra:       url.Values{"code": {"true"}},
	}, {
		// Codex 0.171.0.
		Agent: "codex", Secret: "codex-login",
		TokenHost: "auth.openai.com", TokenPath: "/oauth/token", Form: true,
		Refresh:      credential.Shape{Prefix: "rt_", Length: 87},
		Identity:     true,
		AuthorizeURL: "https://auth.openai.com/oauth/authorize", ClientID: "app_EMoamEEZ73f0CkXaXp7hrann",
		RedirectURL: "http://localhost:1455/auth/callback",
		Scopes:      []string{"openid", "profile", "email", "offline_access", "api.connectors.read", "api.connectors.invoke"},
		Extra:       url.Values{"id_token_add_organizations": {"true"}, "codex_cli_simplified_flow": {"true"}, "originator": {"codex_cli_rs"}},
	}, {
		// Gemini CLI 0.61.0.
		Agent: "gemini", Secret: "gemini-login",
		TokenHost: "oauth2.googleapis.com", TokenPath: "/token", Form: true,
		Refresh:      credential.Shape{Prefix: "1//0", Length: 99},
		AuthorizeURL: "https://accounts.google.com/o/oauth2/v2/auth", ClientID: "681255809395-oo8ft2oprdrnp9e3aqf6av3hmdib135j.apps.googleusercontent.com",
		ClientSecret: "GOC" + "SPX-4uHgMPm-1o7Sk-geV6Cu5clXFsxl", // in two, for tools that look for secrets
		RedirectURL:  "https://codeassist.google.com/authcode", Bare: true,
		Scopes: []string{"https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email", "https://www.googleapis.com/auth/userinfo.profile"},
		Extra:  url.Values{"access_type": {"offline"}, "prompt": {"consent"}},
	}}
}

// Of returns the provider of an agent's logins.
func Of(agent string) (Provider, bool) {
	for _, p := range Providers() {
		if p.Agent == agent {
			return p, true
		}
	}
	return Provider{}, false
}
