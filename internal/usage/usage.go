// Package usage has the words in which model calls are counted and paid: tokens, money, and one record per call. It
// is a leaf: it reads no body, no price and no file. What an API's answer says is read by meter, what it costs is
// said by price, what was made outside of bailey is read by history, and where records are kept is ledger.
package usage

import "time"

// Tokens counts what one model call used. Its kinds do not overlap, but for Thinking. The zero value is nothing.
type Tokens struct {
	Input        int64 `json:"input,omitempty"`          // read anew, neither from a cache nor into one
	CacheWrite   int64 `json:"cache_write,omitempty"`    // into a cache for five minutes, or for a time that is not told
	CacheWrite1h int64 `json:"cache_write_1h,omitempty"` // into a cache for an hour
	CacheRead    int64 `json:"cache_read,omitempty"`     // from a cache
	Output       int64 `json:"output,omitempty"`         // written, thinking included
	Thinking     int64 `json:"thinking,omitempty"`       // of Output, where it is told
	Searches     int64 `json:"searches,omitempty"`       // of the web, by the provider: no tokens, but paid for
}

// Prompt is the size of the context: everything that was read.
func (t Tokens) Prompt() int64 { return t.Input + t.CacheWrite + t.CacheWrite1h + t.CacheRead }

// Total is everything that was read or written.
func (t Tokens) Total() int64 { return t.Prompt() + t.Output }

// Plus is t and o together.
func (t Tokens) Plus(o Tokens) Tokens {
	return Tokens{Input: t.Input + o.Input, CacheWrite: t.CacheWrite + o.CacheWrite, CacheWrite1h: t.CacheWrite1h + o.CacheWrite1h,
		CacheRead: t.CacheRead + o.CacheRead, Output: t.Output + o.Output, Thinking: t.Thinking + o.Thinking, Searches: t.Searches + o.Searches}
}

// Call is one answered call of a model, as the ledger keeps it and every report reads it.
type Call struct {
	ID      string    `json:"id,omitempty"` // unique among a user's calls
	Time    time.Time `json:"time"`         // of the request, UTC
	Sandbox string    `json:"sandbox,omitempty"`
	Purse   string    `json:"purse,omitempty"` // the same for a sandbox and its forks, and for no other
	Session string    `json:"session,omitempty"`
	Agent   string    `json:"agent,omitempty"`
	Model   string    `json:"model,omitempty"`   // as the answer names it, else as the request did
	Request string    `json:"request,omitempty"` // the provider's identifier of the answer
	Status  int       `json:"status,omitempty"`  // HTTP's; 0 where it is not known
	Tokens
	Cost      Money   `json:"cost"`
	Estimated bool    `json:"estimated,omitempty"` // the price is that of the nearest family, or the tokens are not the provider's last word
	Unpriced  string  `json:"unpriced,omitempty"`  // why nobody can say what it cost, which is not the same as nothing
	Latency   float64 `json:"latency,omitempty"`   // from the request to the answer's end, in seconds
}
