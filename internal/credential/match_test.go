package credential

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
)

func TestMatcherFindsTheFirstEnd(t *testing.T) {
	m := newMatcher([][]byte{[]byte("abcd"), []byte("bc"), []byte("xyz"), nil, []byte("aaab")})
	for text, want := range map[string]struct{ pattern, end int }{
		"": {-1, 0}, "abc": {1, 3}, "aabcd": {1, 4}, "wxyz": {2, 4}, "aaaab": {4, 5}, "ab\x00c": {-1, 4}, "xyxyz": {2, 5},
	} {
		if _, p, end := m.find(0, []byte(text)); p != want.pattern || end != want.end {
			t.Errorf("%q: pattern %d ends at %d, want %+v", text, p, end, want)
		}
	}
}

// replaceAll is what a replacer must do, said slowly: of all matches the one that ends first, of those the longest.
func replaceAll(text string, patterns, with []string) string {
	var out strings.Builder
	start := 0
	for end := 1; end <= len(text); end++ {
		best := -1
		for i, p := range patterns {
			if p != "" && end-len(p) >= start && strings.HasSuffix(text[start:end], p) && (best < 0 || len(p) > len(patterns[best])) {
				best = i
			}
		}
		if best >= 0 {
			out.WriteString(text[start : end-len(patterns[best])])
			out.WriteString(with[best])
			start = end
		}
	}
	return out.String() + text[start:]
}

func FuzzReplacer(f *testing.F) {
	f.Add("the secret is secret", "secret", "is", "x", uint8(3))
	f.Add("aaaab", "aaab", "aa", "", uint8(1))
	f.Add("abcabcabd", "abcabd", "bcabc", "ca", uint8(2))
	f.Add(strings.Repeat("nothing of this is one ", 9)+"sk-ant-0123456789012-one and sk-ant-9999999999999", "sk-ant-0123456789012", "sk-ant-9999999999999", "0123456789012-one", uint8(40))
	f.Fuzz(func(t *testing.T, text, one, two, three string, size uint8) {
		if len(text) > 1000 || len(one)+len(two)+len(three) > 200 || one == two || two == three || one == three {
			return
		}
		patterns := []string{one, two, three}
		with := []string{"<1>", "", "<three>"}
		r := replacer{m: newMatcher([][]byte{[]byte(one), []byte(two), []byte(three)}), with: [][]byte{[]byte(with[0]), nil, []byte(with[2])}}
		var out bytes.Buffer
		for rest := text; rest != ""; {
			n := min(len(rest), int(size)+1)
			r.write(&out, []byte(rest[:n]))
			rest = rest[n:]
			longest := max(len(one), len(two), len(three))
			if len(r.held) >= max(1, longest) {
				t.Fatalf("%d bytes are held back, no pattern is longer than %d", len(r.held), longest)
			}
		}
		r.end(&out)
		if want := replaceAll(text, patterns, with); out.String() != want {
			t.Errorf("%q with %q: %q, want %q", text, patterns, out.String(), want)
		}
	})
}

// FuzzForms hides a value as an attacker would and looks for it.
func FuzzForms(f *testing.F) {
	f.Add("sk-ant-api03-abcdefghij", "before", "after", uint8(0))
	f.Add("pass+word/with=signs", "a", "", uint8(1))
	f.Add("0123456789", "", "b", uint8(5))
	f.Fuzz(func(t *testing.T, value, before, after string, way uint8) {
		if len(value) < shortest || len(value) > 200 || len(before)+len(after) > 200 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return
		}
		m := matcherOf(value)
		text := value
		switch way % 7 {
		case 1:
			text = base64.StdEncoding.EncodeToString([]byte(before + value + after))
		case 2:
			text = base64.RawURLEncoding.EncodeToString([]byte(before + value + after))
		case 3:
			text = url.QueryEscape(value)
		case 4:
			text = everyByte(value, "%")
		case 5:
			text = everyByte(value, `\u00`)
		case 6:
			text = url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(before + value + after)))
		}
		if findText(m, before+"\n"+text+after) < 0 && !strings.HasSuffix(before, `\`) {
			t.Errorf("%q is not found in %q", value, text)
		}
	})
}

func matcherOf(value string) *matcher {
	var all [][]byte
	for _, f := range forms(value) {
		all = append(all, []byte(f))
	}
	return newMatcher(all)
}

func everyByte(value, escape string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		b.WriteString(escape + string(lowerHex[c>>4]) + strings.ToUpper(string(lowerHex[c&15])))
	}
	return b.String()
}

func TestUnescaperLeavesTheRest(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", "a%41b": "aAb", "%4": "", "%zz%41": "%zzA", `\u0041\/`: "A/", `\u00e4`: `\u00e4`, `\n\\u0041`: `\n\A`, "%%41": "%A", `\%41`: `\A`, "%C3%A4": "%C3%A4",
	} {
		for split := range len(text) + 1 {
			var u unescaper
			if got := string(u.write(u.write(nil, []byte(text[:split])), []byte(text[split:]))); got != want {
				t.Errorf("%q split at %d is %q, want %q", text, split, got, want)
			}
		}
	}
}

func TestBase64CoresDoNotDependOnNeighbours(t *testing.T) {
	const value = "the-very-secret-value"
	for offset := range 7 {
		for _, before := range []byte{0, 'a', 0xff} {
			for _, after := range []string{"", "x", "xy", "\xff\xff\xff"} {
				text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune(before)), offset) + value + after))
				if findText(matcherOf(value), text) < 0 {
					t.Errorf("not found %d bytes behind %#x, before %q", offset, before, after)
				}
			}
		}
	}
}

// BenchmarkScan looks for what stands for two secrets in a request's body.
func BenchmarkScan(b *testing.B) {
	placeholder := Shape{Prefix: "ghp_", Length: 36, Alphabet: base62}.New()
	k := NewKeeper(Config{Secrets: []Secret{{Name: "github", Placeholder: placeholder}}, Canaries: []Canary{{Name: "key", Value: AWSKeyID().New()}}})
	for name, unit := range map[string]string{"zeros": "\x00", "text": "func main() { fmt.Println(42) } // and so on\n", "json": `{\"role\":\"user\",\"content\":\"say hi\n\"}`} {
		b.Run(name, func(b *testing.B) {
			data := []byte(strings.Repeat(unit, (32<<10)/len(unit)))
			b.SetBytes(int64(len(data)))
			s := (&Exchange{k: k}).newScan()
			for b.Loop() {
				if refusal := s.write(data); refusal != nil {
					b.Fatal(refusal)
				}
			}
		})
	}
}
