//go:build linux

package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// bombCases use up what the sandbox was given; the rest of the machine may not notice. Each is small and, where it
// is about memory or processes, only made as root within a control group.
func bombCases() []attack {
	const asRoot = "limits need control groups or a file system, which this user cannot have here"
	limited := func(id string, flags []string, script, lost string) attack {
		return attack{id: id, group: "resources", own: func(tr *trial) verdict {
			if !tr.w.root {
				return verdict{na: asRoot}
			}
			return tr.bomb(flags, script, lost)
		}}
	}
	memory := []string{"--memory", "128m", "--pids", "300"}
	disk := []string{"--disk", "16m"}
	return []attack{
		limited("fork-bomb", []string{"--pids", "40"}, "$PROBE forks 60; echo over", "started 60"),
		limited("memory-bomb", memory, "$PROBE fill 256", "WON"),
		limited("memory-of-many-children", memory, "$PROBE children 200 2", "WON"),
		limited("memory-in-tmp", memory, "head -c 256M /dev/zero > /tmp/fill && echo WON; rm -f /tmp/fill", "WON"),
		limited("memory-in-shm", memory, "head -c 256M /dev/zero > /dev/shm/fill && echo WON; rm -f /dev/shm/fill", "WON"),
		{id: "descriptor-bomb", group: "resources", own: func(tr *trial) verdict {
			return tr.bomb(nil, "ulimit -n 1024; $PROBE open 5000", "WON")
		}},
		{id: "watch-bomb", group: "resources", own: watchBomb},
		{id: "output-flood", group: "resources", own: outputFlood},
		limited("disk-bomb", disk, "head -c 64M /dev/zero > $HOME/fill && echo WON; rm -f $HOME/fill", "WON"),
		limited("disk-bomb-in-the-system", disk, "head -c 64M /dev/zero > /var/tmp/fill && echo WON; rm -f /var/tmp/fill", "WON"),
		limited("inode-bomb", disk, "mkdir $HOME/many && cd $HOME/many && seq 20000 | xargs touch && echo WON; cd; rm -rf $HOME/many", "WON"),
	}
}

// bomb explodes inside; afterwards the sandbox must still answer and its neighbour not have suffered.
func (tr *trial) bomb(flags []string, script, lost string) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "")
	w.start(t, p, flags...)
	defer w.remove(t, p)
	v := verdict{control: "held"}
	// Without the limit the same works, in the sandbox next door.
	control := script
	if strings.HasPrefix(script, "ulimit") {
		_, control, _ = strings.Cut(script, "; ")
	}
	before := w.latency(tr)
	out := w.inside(t, w.shared, control)
	if strings.Contains(out, lost) {
		v.control = "lost"
	}
	type result struct{ out string }
	done := make(chan result)
	go func() { done <- result{w.inside(t, p, "echo RAN\n"+script)} }()
	during := w.latency(tr)
	out = (<-done).out
	t.Log(out)
	v.ran, v.won = strings.HasPrefix(out, "RAN"), strings.Contains(out, lost)
	v.reason = fmt.Sprintf("a neighbour's exec took %.1f times as long", float64(during)/float64(before))
	if alive := w.inside(t, p, "echo ALIVE"); !strings.Contains(alive, "ALIVE") {
		v.won = true
		v.reason = "the sandbox did not survive its own bomb: " + firstLine(alive)
	}
	return v
}

// latency is the median of a few execs next door.
func (w *world) latency(tr *trial) time.Duration {
	var times []time.Duration
	for range 5 {
		start := time.Now()
		w.must(tr.t, w.shared, "exec", w.shared.box, "true")
		times = append(times, time.Since(start))
	}
	best := times[0]
	for _, d := range times {
		best = min(best, d)
	}
	return best
}

// watchBomb takes inotify instances until there are no more, while a program on the host asks for one.
func watchBomb(tr *trial) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "")
	w.start(t, p)
	defer w.remove(t, p)
	v := verdict{control: "held"}
	try := func(hold func(script string) string) (ran, starved bool) {
		done := make(chan string)
		go func() { done <- hold("HOLD=2s $PROBE watches 100000 > held; cat held") }()
		machine.Poll(w.patience(), func() bool { return strings.Contains(w.outside(t, p, "cat held 2>/dev/null"), "HOLDING") })
		starved = !strings.Contains(w.outside(t, p, "$PROBE watches 1"), "WON")
		out := <-done
		t.Log(out)
		os.Remove(filepath.Join(p.dir, "held"))
		return strings.Contains(out, "made"), starved
	}
	if _, starved := try(func(s string) string { return w.jail(t, p, nil, s) }); starved {
		v.control = "lost"
	}
	v.ran, v.won = try(func(s string) string { return w.inside(t, p, s) })
	return v
}

// outputFlood has an agent print without end, and looks at the log that is kept.
func outputFlood(tr *trial) verdict {
	w, t := tr.w, tr.t
	p := w.newProject(t, tr.id, "")
	const flood = 40 << 20
	w.must(t, p, "create", "--name", p.box, "shell", p.dir)
	defer w.remove(t, p)
	w.must(t, p, "run", "-d", p.box, "--", "-c", fmt.Sprintf("echo RAN > ran; yes | head -c %d; echo over > over", flood))
	v := verdict{control: "lost"}
	over := machine.Poll(50*time.Second, func() bool { return strings.Contains(w.outside(t, p, "cat over 2>/dev/null"), "over") })
	v.ran = over
	size := number(strings.Fields(w.outside(t, p, "du -sb '"+w.boxDir(p)+"/sessions' | cut -f1"))[0])
	rss := number(status(supervisorOf(w, p))["VmHWM"])
	v.won = size > flood/2 || rss > 200<<10
	v.reason = fmt.Sprintf("of %d MiB the log keeps %d MiB; the supervisor's peak was %d MiB", flood>>20, size>>20, rss>>10)
	return v
}
