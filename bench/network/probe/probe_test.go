package main

import (
	"testing"
	"time"
)

func TestHundredth(t *testing.T) {
	var hundred []time.Duration
	for i := range time.Duration(100) {
		hundred = append(hundred, i+1)
	}
	for _, c := range []struct {
		sorted []time.Duration
		n      int
		want   time.Duration
	}{{hundred, 50, 50}, {hundred, 99, 99}, {hundred[:3], 50, 2}, {hundred[:3], 99, 3}, {hundred[:1], 50, 1}} {
		if got := hundredth(c.sorted, c.n); got != c.want {
			t.Errorf("%d hundredths of %d: %d, want %d", c.n, len(c.sorted), got, c.want)
		}
	}
}
