// Package audit is the record of what was decided about a sandbox: the event type, where events go, and
// the file of JSON lines that holds them, each with the hash of the one before it. Secrets in paths are
// left out as far as they can be told by their looks; that is best effort. It decides nothing, and
// debugging output has no place in it.
package audit

import (
	"errors"
	"time"
)

// Kind says what an Event is about.
type Kind string

// The kinds.
const (
	KindDNS      Kind = "dns"      // a question that was refused
	KindConnect  Kind = "connect"  // the decision about a connection, before its first byte passes
	KindClose    Kind = "close"    // the end of a connection that was allowed
	KindRequest  Kind = "request"  // the decision about an HTTP request, before its first byte passes
	KindResponse Kind = "response" // the end of a request that was allowed
	KindWish     Kind = "wish"     // a program inside asks for a host, which grants nothing
	KindAsk      Kind = "ask"      // a human is asked about a connection or request, which waits
	KindAlarm    Kind = "alarm"    // a secret, or what stands for one, was misused; see package credential
)

// Event is one line of the record. Strings may hold what the sandbox sent; a Sink makes them harmless.
type Event struct {
	Time time.Time `json:"time"`
	Seq  uint64    `json:"seq"` // counts from 1 without gaps; the file sets it
	// Prev is the SHA-256 of the line before, without its end, in hexadecimal digits; the very first has
	// none. The file sets it.
	Prev string `json:"prev,omitempty"`
	Kind Kind   `json:"kind"`
	// Flow joins a connection's events. It counts from 1 in each run of the supervisor.
	Flow uint64 `json:"flow,omitempty"`

	Host string `json:"host,omitempty"` // the name that was judged
	Port uint16 `json:"port,omitempty"`
	Addr string `json:"addr,omitempty"` // the address that was dialled, or refused
	Type string `json:"type,omitempty"` // DNS question type

	Method string `json:"method,omitempty"` // of an HTTP request
	Path   string `json:"path,omitempty"`   // of an HTTP request, without its query; see RedactPath
	Status int    `json:"status,omitempty"` // of the answer, also when it is the refusal

	// Credential names the secrets that went out with a request, joined by commas.
	Credential string `json:"credential,omitempty"`

	Verdict string `json:"verdict"` // "allow" or "deny", or "ask" while a human decides
	Rule    string `json:"rule,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Error   string `json:"error,omitempty"` // why an allowed connection failed

	BytesOut int64         `json:"bytes_out,omitempty"` // from the sandbox
	BytesIn  int64         `json:"bytes_in,omitempty"`  // to the sandbox
	Duration time.Duration `json:"duration_ns,omitempty"`
	// Missed counts refused questions since the last dns event that were too many to record singly.
	Missed uint64 `json:"missed,omitempty"`
}

// Sink takes events. Record may be called from any goroutine and keeps the order of calls; when it
// returns an error the event is not recorded, and what it speaks of must not happen.
type Sink interface {
	Record(Event) error
}

// Tee records every event in each of its sinks, also when one of them fails. An empty Tee fails: a
// record that nobody keeps is none.
type Tee []Sink

// Record returns the errors of all sinks that failed.
func (t Tee) Record(e Event) error {
	if len(t) == 0 {
		return errors.New("cannot record event: there is no sink")
	}
	var errs []error
	for _, sink := range t {
		errs = append(errs, sink.Record(e))
	}
	return errors.Join(errs...)
}
