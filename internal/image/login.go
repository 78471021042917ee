package image

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// Login is what programs inside find to log in at a host with: never a secret, but what stands for one.
type Login struct {
	Host     string // HOST or HOST:PORT; a pattern is passed over
	User     string // git's; "" is none for git
	Password string // of letters, digits, "-" and "_" only
	NPM      bool   // npm's token
}

// npmConfig is where npm inside reads its global configuration. In the home directory it could be in the way of the
// sandbox's own.
const npmConfig = "/etc/bailey.npmrc"

// gitLogins answers git when it asks for a password for one of those hosts, and nobody else's.
func gitLogins(logins []Login) []byte {
	var out bytes.Buffer
	for _, l := range logins {
		if l.User == "" || strings.Contains(l.Host, "*") || !plainWord(l.User+l.Password) {
			continue
		}
		fmt.Fprintf(&out, "[credential \"https://%s\"]\n\thelper = \"!f() { test \\\"$1\\\" = get && printf 'username=%s\\\\npassword=%s\\\\n'; }; f\"\n", l.Host, l.User, l.Password)
	}
	return out.Bytes()
}

// npmLogins is npm's configuration and the variable that leads to it.
func npmLogins(logins []Login) (files []sandbox.File, env []string) {
	var out bytes.Buffer
	for _, l := range logins {
		if l.NPM && !strings.Contains(l.Host, "*") && plainWord(l.Password) {
			fmt.Fprintf(&out, "//%s/:_authToken=%s\n", l.Host, l.Password)
		}
	}
	if out.Len() == 0 {
		return nil, nil
	}
	return []sandbox.File{{Target: npmConfig, Mode: 0o644, Content: out.Bytes()}}, []string{"NPM_CONFIG_GLOBALCONFIG=" + npmConfig}
}
