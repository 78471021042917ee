package egress

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// refusalPage is what a program inside gets instead of an answer, for it or for the model that reads it.
type refusalPage struct {
	Error struct {
		Type    string `json:"type"`
		Message string `json:"message"`
		Allow   string `json:"allow,omitempty"` // the command for the host
	} `json:"error"`
}

// writeError says in one sentence why there is no answer, and with which command, to be run on the host, there
// would be. JSON is for those who ask for it.
func writeError(w http.ResponseWriter, r *http.Request, status int, reason, cure string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !wantsJSON(r.Header.Values("Accept")) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, refusalText(reason, cure))
		return
	}
	var page refusalPage
	page.Error.Type, page.Error.Message, page.Error.Allow = "blocked_by_bailey", reason, cure
	if status == http.StatusBadGateway {
		page.Error.Type = "bad_gateway"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(page)
}

func refusalText(reason, cure string) string {
	text := fmt.Sprintf("bailey: %s.\n", reason)
	if cure != "" {
		text += fmt.Sprintf("To allow it, run on the host, outside of the sandbox:\n\n    %s\n\n", cure)
	}
	return text
}

func wantsJSON(accept []string) bool {
	all := strings.ToLower(strings.Join(accept, ","))
	return strings.Contains(all, "json") && !strings.Contains(all, "text/html")
}
