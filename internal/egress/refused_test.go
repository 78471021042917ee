package egress

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/net/http2"

	"github.com/bailey-sandbox/bailey/internal/audit"
)

// What the server refuses is found wherever its writes are cut.
func TestRefusalsAreReadInPieces(t *testing.T) {
	var all bytes.Buffer
	framer := http2.NewFramer(&all, nil)
	_ = framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14})
	_ = framer.WriteData(1, true, []byte{0, 0, 4, http2Reset, 0, 0, 0, 0, 1, 0, 0, 0, 1}) // a frame in a payload is none
	_ = framer.WriteRSTStream(1, http2.ErrCodeNo)
	_ = framer.WriteRSTStream(3, http2.ErrCodeProtocol)
	_ = framer.WriteRSTStream(5, http2.ErrCodeInternal)
	_ = framer.WriteGoAway(5, http2.ErrCodeCompression, []byte("what came is not compressed"))
	_ = framer.WriteGoAway(5, http2.ErrCodeNo, nil)
	want := []string{"malformed request: what came is not HTTP/2 (PROTOCOL_ERROR)", "malformed request: what came is not HTTP/2 (COMPRESSION_ERROR)"}
	for size := 1; size <= all.Len(); size++ {
		var a answers
		var got []string
		for piece := range slices.Chunk(all.Bytes(), size) {
			a.write(piece, func(err error) { got = append(got, err.Error()) })
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}

func FuzzRefusals(f *testing.F) {
	f.Add([]byte{0, 0, 4, http2Reset, 0, 0, 0, 0, 1, 0, 0, 0, 1}, uint8(3))
	f.Add([]byte{0, 0, 8, http2GoAway, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		var whole, pieces answers
		var one, other []string
		whole.write(b, func(err error) { one = append(one, err.Error()) })
		for piece := range slices.Chunk(b, int(size)+1) {
			pieces.write(piece, func(err error) { other = append(other, err.Error()) })
		}
		if !slices.Equal(one, other) {
			t.Errorf("%q at once, %q in pieces of %d", one, other, int(size)+1)
		}
	})
}

// An HTTP/2 request whose stream is ended without an answer is in the record as refused, though net/http shows it to nobody.
func TestRefusedHTTP2IsRecorded(t *testing.T) {
	ended := 0
	for text := range seeds() {
		w := newGood(t, hello, "good.test")
		if w.send(fields(text)) != "" {
			continue
		}
		ended++
		denied := 0
		for _, e := range w.end() {
			if e.Verdict == "deny" && (e.Kind == audit.KindRequest || e.Kind == audit.KindConnect) {
				denied++
			}
		}
		if denied != 1 {
			t.Errorf("%q: %d refusals are in the record, want one", text, denied)
		}
	}
	if ended == 0 {
		t.Error("no stream was ended")
	}
}
