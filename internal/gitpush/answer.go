package gitpush

import (
	"bytes"
	"fmt"
	"strings"
)

// ResultType is the media type of what answers a push.
const ResultType = "application/x-git-receive-pack-result"

// Refusal answers p, of which nothing was done, so that git prints reason for each ref, and help as the server's words.
// One that asked for no report gets an empty answer.
func (p *Push) Refusal(reason, help string) []byte {
	if !p.has("report-status") && !p.has("report-status-v2") {
		return nil
	}
	var report bytes.Buffer
	report.Write(line("unpack ok\n"))
	for _, c := range p.Commands {
		report.Write(line("ng " + c.Ref + " " + oneLine(reason) + "\n"))
	}
	report.WriteString("0000")
	if !p.has("side-band-64k") {
		return report.Bytes()
	}
	var out bytes.Buffer
	out.Write(line("\x02" + help))
	for rest := report.Bytes(); len(rest) > 0; {
		n := min(len(rest), maxLine-5)
		out.Write(line("\x01" + string(rest[:n])))
		rest = rest[n:]
	}
	out.WriteString("0000")
	return out.Bytes()
}

// line is one line of the protocol.
func line(text string) []byte {
	text = text[:min(len(text), maxLine-4)]
	return fmt.Appendf(nil, "%04x%s", len(text)+4, text)
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }
