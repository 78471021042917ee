package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// visitor is an HTTPS client with connections of its own to one probe web, wherever its name leads.
type visitor struct {
	http.Client
	url string
}

func newVisitor(address string) (*visitor, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: clients, TLSClientConfig: &tls.Config{NextProtos: []string{"http/1.1"}}}
	return &visitor{http.Client{Transport: bearer{os.Getenv(tokenVariable), transport}}, "https://" + net.JoinHostPort(webName, port)}, nil
}

// tokenVariable has the token that requests carry, if any.
const tokenVariable = "BENCH_TOKEN"

// bearer adds a token to requests.
type bearer struct {
	token string // "" adds none
	http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.RoundTripper.RoundTrip(r)
}

func (v *visitor) Close() error {
	v.CloseIdleConnections()
	return nil
}

// get makes a request and reads the whole answer.
func (v *visitor) get(path string) error {
	res, err := v.Get(v.url + path)
	return finish(res, err)
}

// send makes a request with bulk bytes.
func (v *visitor) send() error {
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(fill(w)) }()
	req, err := http.NewRequest(http.MethodPost, v.url+"/up", r)
	if err != nil {
		return err
	}
	req.ContentLength = bulk
	res, err := v.Do(req)
	return finish(res, err)
}

func finish(res *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New("the answer is " + res.Status)
	}
	_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{res.Body}, chunk())
	return err
}

// visit opens a connection on which one request has been answered.
func visit(address string) (*visitor, error) {
	v, err := newVisitor(address)
	if err != nil {
		return nil, err
	}
	return v, v.get("/")
}

// requests prints, in the order of the benchmark's figures: the median of the bulk bytes up, and down; connections
// with one request each by several clients; as many requests on open connections; the median and the 99th hundredth
// of requests on one open connection.
func requests(name string) error {
	resolved, err := net.ResolveTCPAddr("tcp", name)
	if err != nil {
		return err
	}
	address := resolved.String()
	v, err := visit(address)
	if err != nil {
		return err
	}
	defer v.Close()
	up, err := repeat(bulks, v.send)
	if err != nil {
		return err
	}
	down, err := repeat(bulks, func() error { return v.get("/down") })
	if err != nil {
		return err
	}
	fresh, err := together(func() error {
		one, err := visit(address)
		return errors.Join(err, one.Close())
	})
	if err != nil {
		return err
	}
	open, err := together(func() error { return v.get("/") })
	if err != nil {
		return err
	}
	single, err := repeat(trips, func() error { return v.get("/") })
	if err != nil {
		return err
	}
	for _, d := range []time.Duration{hundredth(up, 50), hundredth(down, 50), fresh, open, hundredth(single, 50), hundredth(single, 99)} {
		fmt.Println(float64(d.Nanoseconds()) / 1e6)
	}
	return nil
}

// hold keeps n open until the program's input ends.
func hold(n int, open func() (io.Closer, error)) error {
	for range n {
		c, err := open()
		if err != nil {
			return err
		}
		defer c.Close()
	}
	fmt.Println("held")
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err == io.EOF {
		err = nil
	}
	return err
}

// soak makes connections at a rate, every other one of HTTPS with a request, each closed at once. It prints how many it
// made; its error counts those that failed, by their reason.
func soak(length time.Duration, rate int, address, webAddress string) error {
	ticks := time.NewTicker(time.Second / time.Duration(max(1, rate)))
	defer ticks.Stop()
	var all sync.WaitGroup
	var mu sync.Mutex
	failures := map[string]int{}
	slots := make(chan struct{}, 400) // connections that are under way at once: a sandbox may have 512 requests open
	one := func(n int) (string, error) {
		if n%2 == 0 {
			return "carried", connection(address)
		}
		v, err := visit(webAddress)
		return "inspected", errors.Join(err, v.Close())
	}
	made := 0
	for end := time.Now().Add(length); time.Now().Before(end); made++ {
		<-ticks.C
		slots <- struct{}{}
		n := made
		all.Go(func() {
			defer func() { <-slots }()
			if kind, err := one(n); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures[kind+": "+reason(err)]++
			}
		})
	}
	all.Wait()
	if len(failures) > 0 {
		return fmt.Errorf("of %d connections failed %v", made, failures)
	}
	fmt.Println(made)
	return nil
}

// reason is an error without the addresses that make each one different.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
