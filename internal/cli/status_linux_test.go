package cli

import (
	"fmt"
	"io"
	"testing"
)

// The status line goes before other output comes, or it would scroll away with it and stay.
func TestTheStatusLineIsDrawnOverOutput(t *testing.T) {
	e, tty := newEmulator(t, nil)
	raw, err := makeRaw(tty, tty, true)
	if err != nil {
		t.Fatal(err)
	}
	text := "HINT"
	raw.status.text = func(int) string { return text }
	_, _ = io.WriteString(raw, "one")
	_, _ = io.WriteString(raw, "two")
	say, release := raw.hold()
	wrote := make(chan bool)
	go func() { _, _ = io.WriteString(raw, "three"); close(wrote) }()
	say(func(int) string { return "QUESTION" })
	select {
	case <-wrote:
		t.Error("output comes while a question is on the screen")
	default:
	}
	text = ""
	release()
	<-wrote
	raw.restore()
	_ = tty.Close()
	hint, question, gone := bottom(24, "HINT"), bottom(24, "QUESTION"), bottom(24, "")
	got := <-e.screen
	if want := fmt.Sprint("one", hint, gone, "two", question, gone, "three"); got != want {
		t.Errorf("the terminal got %q, want %q", got, want)
	}
}
