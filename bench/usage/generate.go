package usage

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// models are some whose price is the same here and in ccusage. It charges what is above 200,000 tokens of each kind more,
// where Anthropic charges the whole call, so no prompt of claude-sonnet-4-5 is that long.
func models() []string {
	return []string{"claude-opus-4-8", "claude-opus-4-8", "claude-opus-4-8", "claude-sonnet-4-6", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001", "claude-opus-4-1-20250805"}
}

// writer makes a history, the same at every run.
type writer struct {
	dice    *rand.Rand
	text    string
	now     time.Time
	written int64
	next    int // number of the next answer
}

// generate writes about so many bytes of sessions below dir. As Claude Code does, it logs an answer once for each of its
// blocks, with as many tokens as were known; a session that was resumed begins with all lines of the one before; and a side
// conversation replays answers of its parent under requests of its own. One answer takes up 20 KiB, nearly all of it
// what was said and what tools printed.
func generate(dir string, size int64) error {
	w := &writer{dice: rand.New(rand.NewPCG(1, 2)), now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)}
	var words strings.Builder
	for words.Len() < 1<<20 {
		fmt.Fprintf(&words, `word %d \"usage\": {\n\t`, w.dice.IntN(1e6))
	}
	w.text = words.String()
	var before string
	for session := 0; w.written < size; session++ {
		project := filepath.Join(dir, fmt.Sprintf("-home-u-project%d", session%7))
		id := fmt.Sprintf("%08x-0000-4000-8000-%012x", w.dice.Uint32(), session)
		var lines, side strings.Builder
		if session%5 == 4 {
			lines.WriteString(before)
		}
		for range 20 + w.dice.IntN(100) {
			w.answer(&lines, &side, id)
		}
		before = lines.String()
		files := map[string]string{filepath.Join(project, id+".jsonl"): before}
		if side.Len() > 0 {
			files[filepath.Join(project, id, "subagents/agent-a.jsonl")] = side.String()
		}
		for path, text := range files {
			if err := w.file(path, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) file(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewWriter(f)
	n, err := b.WriteString(text)
	w.written += int64(n)
	if err != nil {
		return err
	}
	return b.Flush()
}

// said is some text, seldom long.
func (w *writer) said() string {
	n := 200 + w.dice.IntN(4000)
	if w.dice.IntN(20) == 0 {
		n = 100_000 + w.dice.IntN(200_000)
	}
	from := w.dice.IntN(len(w.text) - n)
	return strings.ToValidUTF8(strings.Trim(w.text[from:from+n], `\"`), "")
}

// answer writes a question, the lines of its answer and what a tool printed.
func (w *writer) answer(lines, side *strings.Builder, session string) {
	w.next++
	w.now = w.now.Add(time.Duration(w.dice.IntN(120)) * time.Second)
	all := models()
	model := all[w.dice.IntN(len(all))]
	outer := fmt.Sprintf(`"type":"%%s","uuid":"%08x-0000-4000-8000-000000000000","userType":"external","cwd":"/home/u/project","sessionId":"%s","version":"2.1.197","gitBranch":"main"`, w.next, session)
	stamp := func() string {
		w.now = w.now.Add(700 * time.Millisecond)
		return w.now.Format("2006-01-02T15:04:05.000Z")
	}
	fmt.Fprintf(lines, `{"parentUuid":null,"isSidechain":false,"message":{"role":"user","content":[{"type":"tool_result","content":"%s"}]},"toolUseResult":{"stdout":"%s","stderr":""},"timestamp":"%s",`+outer+"}\n", w.said(), w.said(), stamp(), "user")
	input, short, long, read := w.dice.IntN(100), w.dice.IntN(20_000), w.dice.IntN(2)*w.dice.IntN(30_000), w.dice.IntN(140_000)
	extra := ""
	if model == "claude-opus-4-8" && w.dice.IntN(20) == 0 {
		extra = `,"speed":"fast"`
	}
	paid := ""
	if w.dice.IntN(50) == 0 {
		paid = fmt.Sprintf(`"costUSD":%.6f,`, w.dice.Float64())
	}
	blocks, output := 1+w.dice.IntN(3), 0
	message := func(sidechain bool, request int, content string) string {
		usage := fmt.Sprintf(`{"input_tokens":%d,"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d,"server_tool_use":{"web_search_requests":0,"web_fetch_requests":0},"service_tier":"standard","cache_creation":{"ephemeral_1h_input_tokens":%d,"ephemeral_5m_input_tokens":%d}%s}`,
			input, short+long, read, output, long, short, extra)
		return fmt.Sprintf(`{"parentUuid":"x","isSidechain":%v,"message":{"content":[%s],"id":"msg_%010d","model":"%s","role":"assistant","stop_reason":"tool_use","stop_sequence":null,"type":"message","usage":%s,"stop_details":null},"requestId":"req_%010d",%s"timestamp":"%s",`+outer+"}\n",
			sidechain, content, w.next, model, usage, request, paid, stamp(), "assistant")
	}
	for range blocks {
		output += 1 + w.dice.IntN(1000)
		lines.WriteString(message(false, w.next, fmt.Sprintf(`{"type":"text","text":"%s"}`, w.said())))
	}
	if w.dice.IntN(10) == 0 {
		side.WriteString(message(true, 1e9+w.next, `{"type":"text","text":"again"}`))
		w.next++
		side.WriteString(message(true, 2e9+w.next, fmt.Sprintf(`{"type":"text","text":"%s"}`, w.said())))
	}
}
