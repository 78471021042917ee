package report

import (
	"fmt"
	"html"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/usage"
)

// SVG draws rows as bars of their cost, one below the other, with the kinds of tokens beside it. title and keys may be
// anything.
func SVG(title string, rows []Row) string {
	const (
		width, left, right = 900, 230, 150
		top, step, bar     = 70, 26, 16
	)
	height := top + step*max(1, len(rows)) + 30
	most := usage.Money(1)
	for _, r := range rows {
		most = max(most, r.Cost)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="system-ui, sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	total := Total(rows)
	fmt.Fprintf(&b, `<text x="20" y="30" font-size="17" font-weight="600" fill="#1b1f24">%s</text>`+"\n", escape(title))
	fmt.Fprintf(&b, `<text x="20" y="50" fill="#57606a">%d calls, %s, %s tokens, caches saved %s</text>`+"\n", total.Calls, total.Cost, Count(total.Tokens.Total()), total.Saved)
	for i, r := range rows {
		y := top + i*step
		length := float64(width-left-right) * float64(max(0, r.Cost)) / float64(most)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#1b1f24">%s</text>`+"\n", left-10, y+bar-3, escape(shorten(r.Key, 30)))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="#2f6f4f"/>`+"\n", left, y, length, bar)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#57606a">%s, %s tokens</text>`+"\n", float64(left)+length+6, y+bar-3, r.Cost, Count(r.Tokens.Total()))
	}
	if len(rows) == 0 {
		fmt.Fprintf(&b, `<text x="20" y="%d" fill="#57606a">nothing was used</text>`+"\n", top+bar)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// HTML is a page with the picture.
func HTML(title string, rows []Row) string {
	return "<!doctype html>\n<meta charset=\"utf-8\">\n<title>" + escape(title) + "</title>\n" + SVG(title, rows)
}

// escape makes text from anywhere fit for a picture.
func escape(text string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || r == 0xFFFE || r == 0xFFFF {
			return '?'
		}
		return r
	}, text))
}

func shorten(text string, most int) string {
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	return string(r[:most-1]) + "…"
}
