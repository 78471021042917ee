package memory

import "testing"

func TestParseRollup(t *testing.T) {
	const head = "00400000-7ffd2b5f9000 ---p 00000000 00:00 0                          [rollup]\nRss:               14716 kB\n"
	for _, c := range []struct {
		name, rollup string
		want         float64
		fails        bool
	}{
		{"the sum and not its parts", head + "Pss:                2048 kB\nPss_Dirty:          1 kB\nPss_Anon:           1 kB\n", 2, false},
		{"without one", head + "Pss_Dirty:          1 kB\n", 0, true},
		{"without a number", head + "Pss: many kB\n", 0, true},
		{"nothing", "", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseRollup(c.rollup)
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
