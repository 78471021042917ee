package usage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// contestant is a command that reads a history.
type contestant struct {
	name    string
	argv    []string
	env     []string // nil is our own
	missing string
}

// ccusage is the npm package of that name, which knows prices of its own without a network.
func ccusage(config string) contestant {
	c := contestant{name: "ccusage daily", env: append(os.Environ(), "CLAUDE_CONFIG_DIR="+config)}
	path, err := exec.LookPath("ccusage")
	if err != nil {
		c.missing = "ccusage is not on the PATH"
	}
	c.argv = []string{path, "claude", "daily", "--json", "--offline", "--timezone", "UTC"}
	return c
}

func (c contestant) output(ctx context.Context) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env = c.env
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", c.name, err, bytes.TrimSpace(said.Bytes()))
	}
	return out, nil
}

// sum is what one model has used. What was written into caches is one number, as ccusage has it.
type sum struct {
	input, written, read, output int64
	dollars                      float64
}

// agree is an error unless both have the same sums of every model. Without a peer there is nothing to agree with.
func agree(ctx context.Context, own, peer contestant) (string, error) {
	text, err := own.output(ctx)
	if err != nil {
		return "", err
	}
	ours, err := tallied(text)
	if err != nil || peer.missing != "" {
		return "sums not compared", err
	}
	if text, err = peer.output(ctx); err != nil {
		return "", err
	}
	theirs, err := counted(text)
	if err != nil {
		return "", err
	}
	var tokens int64
	var dollars float64
	var wrong []string
	for model, s := range ours {
		tokens, dollars = tokens+s.input+s.written+s.read+s.output, dollars+s.dollars
		t := theirs[model]
		cents := math.Abs(t.dollars - s.dollars)
		if t.dollars = s.dollars; t != s || cents >= 0.005 {
			wrong = append(wrong, fmt.Sprintf("%s: %+v here, %+v there", model, s, theirs[model]))
		}
	}
	for model := range theirs {
		if _, ok := ours[model]; !ok {
			wrong = append(wrong, model+" is not here")
		}
	}
	if slices.Sort(wrong); wrong != nil {
		return "", fmt.Errorf("the sums differ: %s", strings.Join(wrong, "; "))
	}
	return fmt.Sprintf("same sums of %d models: %d tokens, $%.2f", len(ours), tokens, dollars), nil
}

func tallied(text []byte) (map[string]sum, error) {
	var models map[string]struct {
		Input     int64   `json:"input"`
		Write     int64   `json:"cache_write"`
		WriteLong int64   `json:"cache_write_1h"`
		Read      int64   `json:"cache_read"`
		Output    int64   `json:"output"`
		Cost      float64 `json:"Cost"`
	}
	if err := json.Unmarshal(text, &models); err != nil {
		return nil, err
	}
	sums := map[string]sum{}
	for name, m := range models {
		sums[name] = sum{m.Input, m.Write + m.WriteLong, m.Read, m.Output, m.Cost}
	}
	return sums, nil
}

func counted(text []byte) (map[string]sum, error) {
	var report struct {
		Daily []struct {
			ModelBreakdowns []struct {
				ModelName                                                       string
				InputTokens, CacheCreationTokens, CacheReadTokens, OutputTokens int64
				Cost                                                            float64
			}
		}
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, err
	}
	sums := map[string]sum{}
	for _, day := range report.Daily {
		for _, m := range day.ModelBreakdowns {
			s := sums[m.ModelName]
			sums[m.ModelName] = sum{s.input + m.InputTokens, s.written + m.CacheCreationTokens, s.read + m.CacheReadTokens, s.output + m.OutputTokens, s.dollars + m.Cost}
		}
	}
	return sums, nil
}
