package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// promptBytes is as long as what an agent sends in the middle of a session.
	promptBytes = 300 << 10
	// words is in how many events an answer comes.
	words = 300
	// prompts is how many are asked for.
	prompts = 500
)

// speak is a model's answer, in the form of Anthropic's Messages, as fast as it can be taken.
func speak(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	event := func(data string) {
		_, _ = io.WriteString(w, "data: "+data+"\n\n")
		_ = out.Flush()
	}
	event(`{"type":"message_start","message":{"id":"msg_1","type":"message","model":"claude-opus-4-8","usage":{"input_tokens":75000,"output_tokens":1}}}`)
	for range words {
		event(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"some words of an answer"}}`)
	}
	event(`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1500}}`)
	event(`{"type":"message_stop"}`)
}

// model asks for answers, one after the other on one connection.
func model(path, name string) error {
	resolved, err := net.ResolveTCPAddr("tcp", name)
	if err != nil {
		return err
	}
	v, err := visit(resolved.String())
	if err != nil {
		return err
	}
	defer v.Close()
	prompt := `{"model":"claude-opus-4-8","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("some words of a prompt\\n", promptBytes/24) + `"}]}`
	var first []time.Duration
	whole, err := repeat(prompts, func() error {
		began := time.Now()
		res, err := v.Post(v.url+path, "application/json", strings.NewReader(prompt))
		if err == nil {
			_, err = io.ReadFull(res.Body, make([]byte, 1))
			first = append(first, time.Since(began))
		}
		return finish(res, err)
	})
	if err != nil {
		return err
	}
	slices.Sort(first)
	for _, d := range []time.Duration{hundredth(first, 50), hundredth(first, 99), hundredth(whole, 50)} {
		fmt.Println(float64(d.Nanoseconds()) / 1e6)
	}
	return nil
}
