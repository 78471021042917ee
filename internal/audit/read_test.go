package audit

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEvents(t *testing.T) {
	l := record(t, 4)
	older := l[0] + "\n" + l[1] + "\n" + strings.Repeat("x", 3*MaxLine) + "\n{}\n"
	newer := l[1] + "\n" + l[2] + "\n" + l[3]
	broken := errors.New("input/output error")
	var got []uint64
	var errs []error
	for e, err := range Events(strings.NewReader(older), strings.NewReader(newer), iotest.ErrReader(broken), strings.NewReader(older)) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got = append(got, e.Seq)
	}
	if len(got) != 3 || got[0] != 1 || got[2] != 3 {
		t.Errorf("the events are %d", got)
	}
	if len(errs) != 3 || !errors.Is(errs[0], ErrDamaged) || !errors.Is(errs[1], ErrDamaged) || !errors.Is(errs[2], broken) {
		t.Errorf("the errors are %v", errs)
	}
	for range Events(strings.NewReader(older)) {
		break
	}
}

func FuzzEvents(f *testing.F) {
	l := record(f, 2)
	f.Add(l[0] + "\n" + l[1] + "\n")
	f.Add("damaged\n" + l[1] + "\n{")
	f.Fuzz(func(t *testing.T, text string) {
		var last uint64
		n := 0
		for e, err := range Events(strings.NewReader(text)) {
			n++
			if err == nil && e.Seq <= last || err != nil && !errors.Is(err, ErrDamaged) {
				t.Fatalf("%+v behind %d, %v", e, last, err)
			}
			last = max(last, e.Seq)
		}
		if n > strings.Count(text, "\n") {
			t.Fatalf("%d events of %d lines", n, strings.Count(text, "\n"))
		}
	})
}
