package egress

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bailey-sandbox/bailey/internal/audit"
)

// keeper is a record of which nothing is lost when it is rotated.
type keeper struct {
	path string

	mu    sync.Mutex
	file  *audit.File
	kept  []string // every older half that there was
	known os.FileInfo
}

func newKeeper(t *testing.T, limit int64) *keeper {
	k := &keeper{path: filepath.Join(t.TempDir(), "audit.jsonl")}
	var err error
	if k.file, err = audit.OpenFile(k.path, limit); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.file.Close() })
	return k
}

func (k *keeper) Record(e audit.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.file.Record(e)
	old := k.path + audit.PreviousSuffix
	if info, statErr := os.Stat(old); statErr == nil && !os.SameFile(info, k.known) {
		name := fmt.Sprintf("%s.kept-%d", k.path, len(k.kept))
		k.kept, k.known = append(k.kept, name), info
		err = errors.Join(err, os.Link(old, name))
	}
	return err
}

// read checks that the files are a whole chain of lines of printable ASCII, none of them larger than limit, and
// returns their events.
func read(t *testing.T, limit int64, paths ...string) []audit.Event {
	t.Helper()
	var texts, again []io.Reader
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(text)) > limit {
			t.Errorf("%s has %d bytes", filepath.Base(path), len(text))
		}
		if i := strings.IndexFunc(string(text), func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }); i >= 0 {
			t.Errorf("%s has byte %#x", filepath.Base(path), text[i])
		}
		texts, again = append(texts, strings.NewReader(string(text))), append(again, strings.NewReader(string(text)))
	}
	c, err := audit.Verify(texts...)
	if err != nil || c.First != 1 || c.Unchained != 0 || c.Torn {
		t.Fatalf("the record is %+v, %v", c, err)
	}
	var events []audit.Event
	for e, err := range audit.Events(again...) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	if uint64(len(events)) != c.Lines || c.Last != c.Lines {
		t.Fatalf("%d events in %+v", len(events), c)
	}
	return events
}

// count is how often a decision is in a record, by what tells it from every other.
func count(events []audit.Event) map[string]int {
	n := map[string]int{}
	for _, e := range events {
		id, _, _ := strings.Cut(strings.TrimPrefix(e.Path, "/"), "/")
		switch e.Kind {
		case audit.KindRequest, audit.KindResponse:
			n[fmt.Sprintf("%s %s %s", e.Kind, e.Verdict, id)]++
		case audit.KindConnect:
			n[fmt.Sprintf("connect %s %s", e.Verdict, cmp.Or(e.Host, e.Addr))]++
		case audit.KindDNS:
			n["dns"] += int(e.Missed)
			if e.Host != "" {
				n["dns"]++
			}
		}
	}
	return n
}

// decide has the i-th of many decisions made, and returns what has to be in the record because of it.
func (w *web) decide(client *http.Client, i int) ([]string, error) {
	id := fmt.Sprintf("id-%d", i)
	method, path := "GET", "/"+id
	want := []string{"request allow " + id, "response allow " + id}
	switch i % 8 {
	case 0: // a connection that nothing allows, to a port where it is refused at once
		addr := netip.AddrFrom4([4]byte{93, 184, byte(i >> 8), byte(i)})
		conn, err := openAt(w.wire.flows.Addr().String(), netip.AddrPortFrom(addr, 22))
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			return nil, errors.New("it is connected")
		}
		return []string{"connect deny " + addr.String()}, nil
	case 1: // a name that nothing allows
		m := new(dns.Msg).SetQuestion(id+".evil.test.", dns.TypeA)
		reply, err := dns.Exchange(m, w.wire.packets.LocalAddr().String())
		if err == nil && len(reply.Answer) != 1 {
			err = fmt.Errorf("the answer is %v", reply)
		}
		return []string{"dns"}, err
	case 2: // bytes that are no request
		conn := w.openName("good.test", 80)
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: good.test\r\nX: \x1b[31m\n{\"seq\":1}\r\n\r\n")
		_, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return []string{"request deny "}, err
	case 3:
		method, want = "POST", []string{"request deny " + id}
	case 4:
		path += "/a\nb\x1b]0;c\u202e"
	case 5:
		method, path, want = "POST", path+"/\r\n"+strings.Repeat("\x1b", 3000), []string{"request deny " + id}
	case 6:
		path += "/" + strings.Repeat("long", 2500)
	}
	req := &http.Request{Method: method, URL: &url.URL{Scheme: "http", Host: "good.test", Path: path}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	if allowed := res.StatusCode == http.StatusOK; allowed != (len(want) == 2) {
		err = fmt.Errorf("the status is %d", res.StatusCode)
	}
	return want, err
}

func TestEveryDecisionIsInTheRecordOnce(t *testing.T) {
	const decisions, workers, limit = 10000, 8, 1 << 20
	w := newGood(t, hello, "good.test")
	w.limit([]string{"GET"}, nil)
	k := newKeeper(t, limit)
	w.lab.mu.Lock()
	w.sink = k
	w.lab.mu.Unlock()
	want := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for n := range workers {
		client := w.client(false)
		wg.Go(func() {
			defer client.CloseIdleConnections()
			for i := n; i < decisions; i += workers {
				made, err := w.decide(client, i+i/8) // each of them does each kind
				if err != nil {
					t.Errorf("decision %d: %v", i, err)
					return
				}
				mu.Lock()
				for _, m := range made {
					want[m]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	w.end()
	if len(k.kept) < 2 {
		t.Errorf("the record was rotated %d times", len(k.kept))
	}
	got := count(read(t, limit, append(k.kept, k.path)...))
	delete(got, "connect allow good.test") // as many as the clients needed
	for id, n := range want {
		if got[id] != n {
			t.Errorf("%q is %d times in the record, want %d", id, got[id], n)
		}
		delete(got, id)
	}
	if len(got) > 0 {
		t.Errorf("in the record is also what nobody asked: %v", got)
	}
}

// inChild names the record of the process that TestWhatWasAnsweredBeforeAKillIsInTheRecord kills.
const inChild = "BAILEY_TEST_RECORD"

func TestServeUntilKilled(t *testing.T) {
	path := os.Getenv(inChild)
	if path == "" {
		t.Skip("it is for the process that another test kills")
	}
	file, err := audit.OpenFile(path, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	w := newWeb(t, publicAddr)
	w.limit([]string{"GET"}, nil)
	w.serve(publicAddr, 80, hello)
	w.lab.mu.Lock()
	w.sink = file
	w.lab.mu.Unlock()
	fmt.Printf("at %s\n", w.wire.flows.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent kills us, or is gone
}

func TestWhatWasAnsweredBeforeAKillIsInTheRecord(t *testing.T) {
	const workers, enough = 4, 1000
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	child := exec.Command(os.Args[0], "-test.run=^TestServeUntilKilled$")
	child.Env = append(os.Environ(), inChild+"="+path, "TMPDIR="+t.TempDir()) // which it has no time to clean
	stdin, err1 := child.StdinPipe()
	stdout, err2 := child.StdoutPipe()
	if err := errors.Join(err1, err2, child.Start()); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() { _ = child.Process.Kill(); _ = child.Wait() })
	defer kill()
	defer stdin.Close()
	var at string
	if _, err := fmt.Fscanf(stdout, "at %s\n", &at); err != nil {
		t.Fatalf("the child does not say where it serves: %v", err)
	}
	answered := make(chan string, workers*enough)
	var wg sync.WaitGroup
	for n := range workers {
		wg.Go(func() { askUntilKilled(at, n, answered) })
	}
	want := map[string]int{}
	for range enough {
		select {
		case id := <-answered:
			want[id]++
		case <-time.After(30 * time.Second):
			t.Fatal("the child does not answer")
		}
	}
	kill()
	wg.Wait()
	close(answered)
	for id := range answered {
		want[id]++
	}
	// The next run cuts off what was torn, and goes on.
	file, err := audit.OpenFile(path, 1<<30)
	if err == nil {
		err = errors.Join(file.Record(audit.Event{Kind: audit.KindDNS, Verdict: "deny"}), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	got := count(read(t, 1<<30, path))
	for id, n := range want {
		if n != 1 || got[id] != 1 {
			t.Errorf("%q was answered %d times and is %d times in the record", id, n, got[id])
		}
	}
	for id, n := range got {
		if n != 1 && strings.HasPrefix(id, "request") {
			t.Errorf("%q is %d times in the record", id, n)
		}
	}
}

// askUntilKilled sends requests to the child at flows, one after the other, and says which decisions it has seen.
func askUntilKilled(flows string, worker int, answered chan<- string) {
	t := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return openAt(flows, netip.AddrPortFrom(netip.MustParseAddr(publicAddr), 80))
	}}
	defer t.CloseIdleConnections()
	client := &http.Client{Transport: t, Timeout: 10 * time.Second}
	for i := range cap(answered) / 4 {
		id := fmt.Sprintf("id-%d-%d", worker, i)
		verdict, ask := "allow", client.Get
		if i%2 == 1 {
			verdict, ask = "deny", func(url string) (*http.Response, error) { return client.Post(url, "text/plain", nil) }
		}
		res, err := ask("http://" + publicAddr + "/" + id)
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err != nil || (verdict == "allow") != (res.StatusCode == http.StatusOK) {
			return
		}
		answered <- "request " + verdict + " " + id
	}
}

// Requests and carried connections have tests of their own beside what else is tested of them.
func TestNothingIsAllowedThatCannotBeRecorded(t *testing.T) {
	for name, spoil := range map[string]func(k *keeper) error{
		"the file is gone from under it": func(k *keeper) error { return k.file.Close() },
		"a directory is in the way of its rotation": func(k *keeper) (err error) {
			for range 100 { // the end of a connection may still be recorded, and rotate the file
				_ = os.Remove(k.path + audit.PreviousSuffix)
				if err = os.MkdirAll(filepath.Join(k.path+audit.PreviousSuffix, "x"), 0o700); err == nil {
					return nil
				}
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newGood(t, hello, "good.test")
			k := newKeeper(t, 1) // each line is one too many
			w.lab.mu.Lock()
			w.sink = k
			w.lab.mu.Unlock()
			try := func() (status, wish, rcode int) {
				t.Helper()
				client := w.client(false)
				defer client.CloseIdleConnections()
				res, err := client.Get("http://good.test/")
				body(t, res, err)
				asked, err := client.PostForm("http://bailey.internal/request", url.Values{"host": {"more.test"}})
				body(t, asked, err)
				return res.StatusCode, asked.StatusCode, w.ask("evil.test", dns.TypeA).Rcode
			}
			if status, wish, rcode := try(); status != 200 || wish != 202 || rcode != dns.RcodeSuccess {
				t.Fatalf("control: %d, %d, %d", status, wish, rcode)
			}
			if err := spoil(k); err != nil {
				t.Fatal(err)
			}
			if status, wish, rcode := try(); status != 502 || wish != 502 || rcode != dns.RcodeSuccess {
				t.Errorf("%d, %d, %d", status, wish, rcode)
			}
			w.wantReset(w.open(netip.MustParseAddrPort(publicAddr + ":443")))
			if w.requests() != 1 {
				t.Errorf("the world got %d requests", w.requests())
			}
		})
	}
}

// Nothing of a path is in what people and programs inside are told, so nothing of a secret in one.
func TestSecretsInPathsAreNowhereInTheRecord(t *testing.T) {
	const token = "ghp_aB3xK9pQ2mZ7aB3xK9pQ2mZ7aB3xK9pQ2mZ7"
	w := newGood(t, func(rw http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, "good.test")
	k := newKeeper(t, 1<<20)
	w.lab.mu.Lock()
	w.sink = k
	w.lab.mu.Unlock()
	client := w.client(false)
	ask := func(method, target, host string) {
		t.Helper()
		req, err := http.NewRequest(method, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := client.Do(req)
		if got := body(t, res, err); res.StatusCode < 400 || strings.Contains(got, token[:8]) {
			t.Errorf("%s %s: %d %s", method, host, res.StatusCode, got)
		}
	}
	ask("GET", "http://good.test/"+token, "")
	ask("GET", "https://good.test/a/"+token+"/b?"+token, "")
	ask("GET", "http://good.test/"+token, "evil.test")
	ask("TRACE", "http://good.test/"+token, "")
	w.limit([]string{"POST"}, []string{"/x"})
	ask("GET", "http://good.test/"+token, "")
	ask("POST", "http://good.test/"+token, "")
	w.setRules("deny good.test")
	ask("GET", "http://good.test/"+token, "")
	client.CloseIdleConnections()
	w.end()
	text, err := os.ReadFile(k.path)
	if err != nil || strings.Count(string(text), `"kind":"request"`) != 7 || strings.Contains(string(text), token[4:12]) {
		t.Errorf("%s, %v", text, err)
	}
	if !strings.Contains(string(text), `"path":"/a/`+audit.Redacted+`/b"`) {
		t.Errorf("control: the paths are not there: %s", text)
	}
}
