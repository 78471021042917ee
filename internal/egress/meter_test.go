package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// till is a purse that notes what it is asked and told.
type till struct {
	refuse error
	wait   chan struct{} // nil lets calls begin at once

	mu     sync.Mutex
	wanted []Wanted
	calls  []usage.Call
	costs  []*usage.Money
}

func (p *till) Begin(ctx context.Context, w Wanted) (func(usage.Call, *usage.Money), error) {
	p.mu.Lock()
	p.wanted = append(p.wanted, w)
	p.mu.Unlock()
	if p.wait != nil {
		select {
		case <-p.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if p.refuse != nil {
		return nil, p.refuse
	}
	return func(c usage.Call, cost *usage.Money) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.calls, p.costs = append(p.calls, c), append(p.costs, cost)
	}, nil
}

func (p *till) told() ([]Wanted, []usage.Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted, p.calls
}

const answered = `data: {"type":"message_start","message":{"id":"msg_1","model":"claude-opus-4-8","usage":{"input_tokens":12,"cache_read_input_tokens":40,"output_tokens":1}}}

data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hello"}}

data: {"type":"message_delta","usage":{"output_tokens":57}}

data: {"type":"message_stop"}

`

// provider answers as a model does, the first event at once and the rest when more is closed.
func provider(t *testing.T, p *till, more chan struct{}) (w *web, bodies func() []string) {
	w = newPaidWeb(t, p, "good.test")
	w.named("good.test", publicAddr)
	var all []string
	w.serve("good.test", 443, func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.lab.mu.Lock()
		all = append(all, fmt.Sprintf("%s %v", body, err))
		w.lab.mu.Unlock()
		out.Header().Set("Content-Type", "text/event-stream")
		first, rest, _ := strings.Cut(answered, "\n\n")
		_, _ = io.WriteString(out, first+"\n\n")
		_ = http.NewResponseController(out).Flush()
		<-more
		_, _ = io.WriteString(out, rest)
	})
	return w, func() []string {
		w.lab.mu.Lock()
		defer w.lab.mu.Unlock()
		return slices.Clone(all)
	}
}

func TestModelCallsAreCountedAsTheyPass(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		p, more := &till{}, make(chan struct{})
		w, _ := provider(t, p, more)
		r, err := w.client(http2).Post("https://good.test/v1/messages", "application/json", strings.NewReader(`{"model":"claude-opus-4-8","max_tokens":100}`))
		if err != nil {
			t.Fatal(err)
		}
		// The first event comes before the rest is there.
		first := make([]byte, 40)
		if _, err := io.ReadFull(r.Body, first); err != nil {
			t.Fatal(err)
		}
		if _, calls := p.told(); len(calls) != 0 {
			t.Error("it is counted before it is over")
		}
		close(more)
		rest, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if string(first)+string(rest) != answered || err != nil {
			t.Errorf("what came is %q, %v", string(first)+string(rest), err)
		}
		w.end()
		wanted, calls := p.told()
		if len(wanted) != 1 || wanted[0].Model != "claude-opus-4-8" || wanted[0].Output != 100 || wanted[0].Bytes != 44 {
			t.Errorf("wanted was %+v", wanted)
		}
		want := usage.Tokens{Input: 12, CacheRead: 40, Output: 57}
		if len(calls) != 1 || calls[0].Tokens != want || calls[0].Model != "claude-opus-4-8" || calls[0].Request != "msg_1" || calls[0].Status != 200 || calls[0].Estimated || calls[0].Unpriced != "" || calls[0].Latency <= 0 {
			t.Errorf("counted is %+v", calls)
		}
	}
}

func TestOtherRequestsAreNotCounted(t *testing.T) {
	p, more := &till{refuse: errors.New("no")}, make(chan struct{})
	close(more)
	w, bodies := provider(t, p, more)
	for _, path := range []string{"/v1/messages/count_tokens", "/upload"} {
		r, err := w.client(false).Post("https://good.test"+path, "application/json", strings.NewReader("{}"))
		if err != nil || r.StatusCode != 200 {
			t.Fatalf("%s: %v, %v", path, r, err)
		}
		_ = r.Body.Close()
	}
	if wanted, _ := p.told(); len(wanted) != 0 || len(bodies()) != 2 {
		t.Errorf("%v, %v", wanted, bodies())
	}
}

// The provider has a request as a whole only when the purse has let it go.
func TestACallWaitsForThePurse(t *testing.T) {
	p, more := &till{wait: make(chan struct{})}, make(chan struct{})
	close(more)
	w, bodies := provider(t, p, more)
	large := `{"model":"m","messages":"` + strings.Repeat("x", 1<<20) + `"}`
	got := make(chan string, 1)
	go func() {
		r, err := w.client(false).Post("https://good.test/v1/messages", "application/json", strings.NewReader(large))
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		got <- string(body)
	}()
	for len(func() []Wanted { v, _ := p.told(); return v }()) == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	if len(bodies()) != 0 {
		t.Error("the provider had it before")
	}
	close(p.wait)
	if body := <-got; body != answered {
		t.Errorf("%q", body)
	}
	if got := bodies(); got[0] != large+" <nil>" {
		t.Errorf("the provider has %d bytes", len(got[0]))
	}
}

func TestACallThatIsNotPaidForIsRefusedAsItsProviderWould(t *testing.T) {
	p, more := &till{refuse: errors.New("the budget of 5usd for day is used up")}, make(chan struct{})
	close(more)
	for path, want := range map[string]string{
		"/v1/messages":                        `{"error":{"message":"bailey: the budget of 5usd for day is used up","type":"invalid_request_error"},"type":"error"}`,
		"/v1/chat/completions":                `{"error":{"code":"budget_exceeded","message":"bailey: the budget of 5usd for day is used up","param":null,"type":"invalid_request_error"}}`,
		"/v1/responses":                       `{"error":{"code":"budget_exceeded","message":"bailey: the budget of 5usd for day is used up","param":null,"type":"invalid_request_error"}}`,
		"/v1beta/models/g:generateContent":    `{"error":{"code":400,"message":"bailey: the budget of 5usd for day is used up","status":"FAILED_PRECONDITION"}}`,
		"/model/anthropic.claude-opus/invoke": `{"message":"bailey: the budget of 5usd for day is used up"}`,
	} {
		for _, http2 := range []bool{false, true} {
			w, bodies := provider(t, p, more)
			r, err := w.client(http2).Post("https://good.test"+path, "application/json", strings.NewReader(`{"model":"m"}`))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if strings.TrimSpace(string(body)) != want || r.StatusCode != 400 || r.Header.Get("X-Should-Retry") != "false" {
				t.Errorf("%s: %d %s", path, r.StatusCode, body)
			}
			for _, e := range w.end() {
				if e.Kind == "response" && !strings.Contains(e.Error, "is used up") {
					t.Errorf("recorded is %+v", e)
				}
			}
			for _, b := range bodies() {
				if strings.HasSuffix(b, " <nil>") {
					t.Errorf("the provider has the whole of it: %s", b)
				}
			}
		}
	}
	if _, calls := p.told(); len(calls) != 0 {
		t.Errorf("counted is %+v", calls)
	}
}

func TestACallThatBreaksOffCountsWhatWasTold(t *testing.T) {
	p, more := &till{}, make(chan struct{})
	w, _ := provider(t, p, more)
	defer close(more)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://good.test/v1/messages", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := w.client(false).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(answer.Body, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = answer.Body.Close()
	for range 500 {
		if _, calls := p.told(); len(calls) == 1 {
			if calls[0].Input != 12 || !calls[0].Estimated {
				t.Errorf("%+v", calls[0])
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("it was never counted")
}

func TestACompressedAnswerIsCountedAndPassesUnchanged(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, `{"id":"msg_2","model":"m","usage":{"input_tokens":3,"output_tokens":4}}`)
	_ = z.Close()
	p := &till{}
	w := newPaidWeb(t, p, "good.test")
	w.named("good.test", publicAddr)
	w.serve("good.test", 443, func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "application/json")
		out.Header().Set("Content-Encoding", "gzip")
		_, _ = out.Write(packed.Bytes())
	})
	r, err := w.client(false).Post("https://good.test/v1/messages", "application/json", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if !bytes.Equal(body, packed.Bytes()) || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	w.end()
	if _, calls := p.told(); len(calls) != 1 || calls[0].Tokens != (usage.Tokens{Input: 3, Output: 4}) {
		t.Errorf("%+v", calls)
	}
}

// A model cannot be asked where nobody counts. Other WebSockets pass.
func TestAWebSocketToAModelIsRefused(t *testing.T) {
	p, more := &till{}, make(chan struct{})
	close(more)
	w, bodies := provider(t, p, more)
	for path, want := range map[string]int{"/v1/responses": http.StatusUpgradeRequired, "/v1//realtime": http.StatusUpgradeRequired, "/chat": http.StatusOK} {
		r, err := http.NewRequest(http.MethodGet, "https://good.test"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		answer, err := w.client(false).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
	}
	if len(bodies()) != 1 {
		t.Errorf("the provider has %q", bodies())
	}
}
