package egress

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/audit"
)

func TestSelfTellsAndGrantsNothing(t *testing.T) {
	w := newWeb(t, "good.test", "deny evil.test")
	client := w.client(false)
	res, err := client.Get("http://bailey.internal/")
	if got := body(t, res, err); !strings.Contains(got, "  good.test\n") || strings.Contains(got, "evil.test") {
		t.Errorf("%q", got)
	}
	req, _ := http.NewRequest("GET", "http://bailey.internal/", nil)
	req.Header.Set("Accept", "application/json")
	res, err = client.Do(req)
	var page allowedPage
	if err := json.Unmarshal([]byte(body(t, res, err)), &page); err != nil || !slices.Equal(page.Allow, []string{"good.test"}) || page.Default != "deny" || page.Ask == "" || page.Proxy != "http://bailey.internal:3128" {
		t.Errorf("%+v, %v", page, err)
	}
	ask := func(host string) (int, string) {
		t.Helper()
		res, err := client.PostForm("http://bailey.internal/request", url.Values{"host": {host}})
		return res.StatusCode, body(t, res, err)
	}
	if status, got := ask("more.test"); status != http.StatusAccepted || !strings.Contains(got, "    bailey allow more.test\n") {
		t.Errorf("%d %q", status, got)
	}
	if status, _ := ask("good.test"); status != http.StatusOK {
		t.Errorf("what is allowed: %d", status)
	}
	for _, host := range []string{"", "a b", "127.0.0.1", strings.Repeat("a", maxWish)} {
		if status, got := ask(host); status != http.StatusBadRequest {
			t.Errorf("%.20q: %d %q", host, status, got)
		}
	}
	limited := false
	for range 200 {
		status, _ := ask("more.test")
		limited = limited || status == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("a sandbox may ask without end")
	}
	if d := w.rules.DecideName("more.test"); d.Verdict.String() != "deny" {
		t.Error("it was granted")
	}
	w.wantUntouched()
	client.CloseIdleConnections()
	if e := w.end()[0]; e.Kind != audit.KindWish || e.Host != "more.test" || e.Verdict != "deny" {
		t.Errorf("event: %+v", e)
	}
}
