// Package oauth keeps logins (RFC 6749) on the host's side. A login's tokens are one secret of the user's store; a
// Broker gives out the access token and renews it, once for all sandboxes of all processes; an Endpoint stands in a
// sandbox's way to the token endpoint: what a login inside brings is kept on the host, and the program inside gets what
// stands for it. Login logs in before any sandbox exists. It knows no sandbox, and decides nothing about where tokens
// may go: that is package credential's.
package oauth

import (
	"github.com/bailey-sandbox/bailey/internal/credential"
	"github.com/bailey-sandbox/bailey/internal/hostname"
)

// Provider is who gives out tokens to an agent's users.
type Provider struct {
	Agent  string // its name
	Secret string // the name of the login in the store, which is a service's, see credential.Services
	// TokenHost and TokenPath are the token endpoint, at port 443.
	TokenHost hostname.Name
	TokenPath string
	Refresh   credential.Shape // of refresh tokens; the access token's is the service's

	AuthorizeURL string
	ClientID     string
	RedirectURL  string // a page that shows the code to copy
	Scopes       []string
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
