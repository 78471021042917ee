package audit

import (
	"net/url"
	"strings"
)

// Redacted stands in a path for a segment that looks like a secret. No path that was sent has these characters
// as they are.
const Redacted = "{redacted}"

// shortest is the length of the shortest segment that is taken for a secret.
const shortest = 15

// RedactPath replaces what looks like a secret in the path of a request: segments with tokens of known shapes,
// those that are secret by their place, and long ones in which capitals, small letters and digits are mixed as
// chance mixes them. Hashes, versions, dates, and the names of packages and their files stay. It is best effort: a
// password of small letters is a word like any other.
func RedactPath(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		text, err := url.PathUnescape(segment)
		if err != nil {
			text = segment
		}
		if len(text) < shortest {
			continue
		}
		if hasToken(text) || secretPlace(segments[:i], text) || random(text) {
			segments[i] = Redacted
		}
	}
	return strings.Join(segments, "/")
}

// Whole says whether a recorded path is the one that was sent, with nothing redacted and nothing cut off.
func Whole(path string) bool {
	return !strings.Contains(path, Redacted) && !strings.HasSuffix(path, Cut)
}

// shape is how a kind of token looks: what it begins with, and at least how many characters of a set follow.
type shape struct {
	prefix string
	least  int
	of     func(c byte) bool
}

// shapes are those of tokens whose issuers have given them a prefix so that they can be found. The lengths are
// lower bounds, since the issuers change them.
func shapes() []shape {
	return []shape{
		{"sk-ant-", 16, urlSafe}, {"sk-proj-", 16, urlSafe}, {"sk-or-", 16, urlSafe}, {"sk-", 20, alphanumeric},
		{"ghp_", 30, alphanumeric}, {"gho_", 30, alphanumeric}, {"ghu_", 30, alphanumeric}, {"ghs_", 30, alphanumeric},
		{"ghr_", 30, alphanumeric}, {"github_pat_", 22, urlSafe},
		{"glpat-", 16, urlSafe}, {"gldt-", 16, urlSafe}, {"glrt-", 16, urlSafe}, {"glptt-", 16, urlSafe}, {"glcbt-", 16, urlSafe},
		{"xoxa-", 10, urlSafe}, {"xoxb-", 10, urlSafe}, {"xoxe-", 10, urlSafe}, {"xoxp-", 10, urlSafe}, {"xoxr-", 10, urlSafe},
		{"xoxs-", 10, urlSafe}, {"xapp-", 10, urlSafe},
		{"AKIA", 16, capital}, {"ASIA", 16, capital}, {"ABIA", 16, capital}, {"ACCA", 16, capital},
		{"npm_", 30, alphanumeric}, {"pypi-AgE", 20, urlSafe}, {"dckr_pat_", 20, urlSafe}, {"rubygems_", 40, alphanumeric},
		{"AIza", 30, urlSafe}, {"ya29.", 20, urlSafe}, {"GOCSPX-", 20, urlSafe},
		{"eyJ", 17, jwt},
		{"hf_", 30, alphanumeric}, {"gsk_", 30, alphanumeric}, {"xai-", 30, alphanumeric}, {"pplx-", 30, alphanumeric},
		{"sk_live_", 10, alphanumeric}, {"sk_test_", 10, alphanumeric}, {"rk_live_", 10, alphanumeric}, {"whsec_", 20, alphanumeric},
		{"dop_v1_", 40, alphanumeric}, {"shpat_", 20, alphanumeric}, {"SG.", 30, jwt}, {"lin_api_", 30, alphanumeric},
	}
}

// hasToken says whether a token of a known shape stands in text, at its beginning or behind what is no letter or
// digit.
func hasToken(text string) bool {
	all := shapes()
	for i := range len(text) {
		if i > 0 && alphanumeric(text[i-1]) {
			continue
		}
		if telegram(text[i:]) {
			return true
		}
		for _, s := range all {
			if rest, ok := strings.CutPrefix(text[i:], s.prefix); ok && run(rest, s.of) >= s.least {
				return true
			}
		}
	}
	return false
}

// telegram says whether text begins with a bot's token, 123456:AAE…, as it stands in the paths of Telegram's API.
func telegram(text string) bool {
	text = strings.TrimPrefix(text, "bot")
	digits := run(text, digit)
	return digits >= 5 && strings.HasPrefix(text[digits:], ":") && run(text[digits+1:], urlSafe) >= 30
}

// secretPlace says whether text is what a service gives to whoever may use a web hook: the third part behind
// Slack's /services/, and the one behind the number in Discord's /webhooks/.
func secretPlace(before []string, text string) bool {
	n := len(before)
	switch {
	case n < 2 || len(text) < 20 || run(text, urlSafe) < len(text):
		return false
	case n >= 3 && (before[n-3] == "services" || before[n-3] == "workflows" || before[n-3] == "triggers"):
		return strings.HasPrefix(before[n-2], "T")
	}
	return before[n-2] == "webhooks" && run(before[n-1], digit) == len(before[n-1])
}

// random says whether text has at least 20 letters and digits in a row in which capitals, small letters and digits
// all occur and change as often as by chance: from three of five characters to the next. In a name such as
// HowToWriteALongNameIn3Steps they change less, or hardly ever to digits.
func random(text string) bool {
	const long = 20
	for len(text) > 0 {
		n := run(text, urlSafe)
		if n >= long && mixed(text[:n], long) {
			return true
		}
		text = text[min(n+1, len(text)):]
	}
	return false
}

// mixed does not look at hyphens and underscores, which base64 for URLs has among its letters.
func mixed(text string, long int) bool {
	var seen [4]bool
	count, changes, numbers, before := 0, 0, 0, 0
	for i := range len(text) {
		kind := kindOf(text[i])
		if kind == 0 {
			continue
		}
		if before != 0 && kind != before {
			changes++
		}
		if kind == 3 && kind != before {
			numbers++
		}
		seen[kind], before = true, kind
		count++
	}
	often := changes*2 >= count || changes*5 >= count*2 && numbers > 1
	return count >= long && seen[1] && seen[2] && seen[3] && often
}

// kindOf tells capitals, small letters and digits apart; 0 is everything else.
func kindOf(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return 1
	case c >= 'a' && c <= 'z':
		return 2
	case digit(c):
		return 3
	}
	return 0
}

// run is how many bytes at the beginning of text are of that kind.
func run(text string, is func(byte) bool) int {
	n := 0
	for n < len(text) && is(text[n]) {
		n++
	}
	return n
}

func digit(c byte) bool        { return c >= '0' && c <= '9' }
func capital(c byte) bool      { return c >= 'A' && c <= 'Z' || digit(c) } // of tokens in base 32
func alphanumeric(c byte) bool { return kindOf(c) != 0 }
func urlSafe(c byte) bool      { return alphanumeric(c) || c == '-' || c == '_' }
func jwt(c byte) bool          { return urlSafe(c) || c == '.' }
