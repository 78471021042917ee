//go:build linux

package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// Try makes one of the trials that the command soak describes, n times, and afterwards removes everything. The
// report is one line for a human. The error joins all that went wrong, and what was left behind.
func (l *Lab) Try(what string, n int, seed uint64) (report string, err error) {
	switch what {
	case "kills":
		report, err = l.kills(n, rand.New(rand.NewPCG(seed, 0)))
	case "cycles":
		report, err = l.cycles(n)
	case "parallel":
		report, err = l.parallel(n)
	case "oneName":
		report, err = l.oneName(n)
	case "clients":
		report, err = l.clients(n)
	default:
		return "", fmt.Errorf("no trial is called %q", what)
	}
	return report, errors.Join(err, l.Clean())
}

// Clean removes every sandbox, and says what is left then.
func (l *Lab) Clean() error {
	all, err := l.Settled()
	for name := range all {
		err = errors.Join(err, l.must("rm", "-f", name))
	}
	err = errors.Join(err, l.must("prune", "-f"))
	if left := l.Left(); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left behind:\n%s", strings.Join(left, "\n")))
	}
	return err
}

// must is Run for what has to work.
func (l *Lab) must(args ...string) error {
	if out := l.Run(nil, args...); out.Code != 0 {
		return errors.New(out.String())
	}
	return nil
}

// kills runs commands, kills the command, a supervisor or the first process of a sandbox at a random moment, and
// checks each time that the sandbox can be listed and started.
func (l *Lab) kills(n int, r *rand.Rand) (string, error) {
	name := l.Name()
	struck := map[string]int{}
	for i := range n {
		if all, err := l.Status(); err != nil {
			return "", err
		} else if all[name] == "" {
			if err := l.must("create", "--name", name, "shell", "."); err != nil {
				return "", err
			}
		}
		verbs := [][]string{
			{"start", name}, {"restart", name}, {"exec", name, "sh", "-c", "sleep 0.1"}, {"run", name, "--", "-c", "sleep 0.1"},
			{"stop", name}, {"rm", "-f", name}, {"create", "--name", name, "shell", "."},
		}
		if err := l.kill(verbs[r.IntN(len(verbs))], r, struck); err != nil {
			return "", fmt.Errorf("round %d: %w", i, err)
		}
		if err := l.check(name); err != nil {
			return "", fmt.Errorf("round %d: %w", i, err)
		}
	}
	return fmt.Sprintf("killed %v", struck), nil
}

// kill runs bailey and kills a process at a random moment.
func (l *Lab) kill(args []string, r *rand.Rand, struck map[string]int) error {
	cmd := l.Command(nil, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(time.Duration(r.IntN(150)) * time.Millisecond)
	// The command itself, the supervisor, or what that has started.
	victims := map[string][]int{"command": {cmd.Process.Pid}}
	if pid := l.Supervisor(l.Name()); pid != 0 && l.ours(pid) {
		victims["supervisor"], victims["machine"] = []int{pid}, Children(pid)
	}
	who := []string{"command", "supervisor", "machine"}[r.IntN(3)]
	for _, pid := range victims[who] {
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			struck[who+" of "+args[0]]++
		}
	}
	// Whatever a killed machine means for the command, it has to end.
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
		return nil
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		return fmt.Errorf("%v hangs after the kill of its %s", args, who)
	}
}

// ours says whether pid, which a file has named, is a supervisor of this lab and not a number used anew.
func (l *Lab) ours(pid int) bool {
	environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return strings.Contains(string(environ), "HOME="+l.Dir+"/")
}

// check says whether ls tells the truth about the sandbox name, and the next start works.
func (l *Lab) check(name string) error {
	all, err := l.Settled()
	if err != nil {
		return err
	}
	switch all[name] {
	case "": // killed before it was there, or when it was going
		return nil
	case "running", "stopped":
	default:
		return fmt.Errorf("it is said to be %s", all[name])
	}
	// A supervisor whose machine was killed answers for a moment longer: a start then finds it running.
	machine.Poll(5*time.Second, func() bool {
		err = errors.Join(l.must("start", name), l.must("exec", name, "true"))
		return err == nil
	})
	return err
}

func (l *Lab) cycles(n int) (string, error) {
	name := l.Name()
	for range n {
		for _, args := range [][]string{
			{"create", "--name", name, "shell", "."}, {"run", name, "--", "-c", "echo x > ~/x"}, {"rm", "-f", name},
		} {
			if err := l.must(args...); err != nil {
				return "", err
			}
		}
	}
	return "create, run and rm", nil
}

// parallel runs n sandboxes through their life at once.
func (l *Lab) parallel(n int) (string, error) {
	var memory int64
	each := func(i int) error {
		name := fmt.Sprintf("%s-%d", l.Name(), i)
		for _, args := range [][]string{
			{"run", "-d", "--name", name, "shell", ".", "--", "-c", "sleep 1000"}, {"exec", name, "true"},
		} {
			if err := l.must(args...); err != nil {
				return err
			}
		}
		return nil
	}
	err := together(n, each)
	for i := range n {
		memory += l.Memory(fmt.Sprintf("%s-%d", l.Name(), i))
	}
	err = errors.Join(err, together(n, func(i int) error { return l.must("rm", "-f", fmt.Sprintf("%s-%d", l.Name(), i)) }))
	return fmt.Sprintf("run, exec and rm; all at once took %.1f MiB each", float64(memory)/float64(n)/(1<<20)), err
}

// oneName does n different things at once to one sandbox. Most of them fail, each with a reason.
func (l *Lab) oneName(n int) (string, error) {
	name := l.Name()
	verbs := [][]string{
		{"create", "--name", name, "shell", "."}, {"start", name}, {"exec", name, "true"}, {"run", "-d", name}, {"stop", name},
		{"rm", name}, {"rm", "-f", name}, {"ls", "-a"}, {"run", "--name", name, "shell", ".", "--", "-c", "true"}, {"restart", name},
	}
	var mu sync.Mutex
	codes := map[int]int{}
	err := together(n, func(i int) error {
		out := l.Run(nil, verbs[i%len(verbs)]...)
		mu.Lock()
		defer mu.Unlock()
		codes[out.Code]++
		if out.Code == 0 || out.Code >= 122 && out.Code <= 125 && strings.HasPrefix(out.Stderr, "bailey: ") || out.Code == 137 && i%len(verbs) == 8 {
			return nil
		}
		return errors.New(out.String())
	})
	return fmt.Sprintf("exit codes %v", codes), errors.Join(err, l.check(name))
}

func together(n int, do func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// clients attaches n clients to an agent that never stops printing, and kills each while it reads or does not.
func (l *Lab) clients(n int) (string, error) {
	name := l.Name()
	if err := l.must("run", "-d", "--name", name, "shell", ".", "--", "-c", "yes 'a line of output of some length'"); err != nil {
		return "", err
	}
	pid := l.Supervisor(name)
	var before [2]int
	for i := range n {
		if i == n/10 { // once everything has been used
			before = l.descriptors(pid)
		}
		cmd := l.Command(nil, "attach", name)
		r, w, err := os.Pipe()
		if err != nil {
			return "", err
		}
		cmd.Stdout = w
		err = cmd.Start()
		w.Close()
		if err != nil {
			return "", errors.Join(err, r.Close())
		}
		_, err = r.Read(make([]byte, 1)) // it is attached; from here on nobody reads
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err = errors.Join(err, r.Close()); err != nil {
			return "", fmt.Errorf("client %d: %w", i, err)
		}
	}
	var after [2]int
	machine.Poll(5*time.Second, func() bool { after = l.descriptors(pid); return after[0] <= before[0]+5 && after[1] <= before[1]+5 })
	report := fmt.Sprintf("descriptors of supervisor and guest %v, at first %v; memory %.1f MiB", after, before, float64(l.Memory(name))/(1<<20))
	if after[0] > before[0]+5 || after[1] > before[1]+5 {
		return report, errors.New("descriptors leak: " + report)
	}
	return report, nil
}

// descriptors counts the descriptors of a supervisor and of its machine's first process; -1 where that may not be seen.
func (l *Lab) descriptors(supervisor int) (counts [2]int) {
	for i, pid := range append([]int{supervisor}, Children(supervisor)...)[:2] {
		entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
		if counts[i] = len(entries); err != nil {
			counts[i] = -1
		}
	}
	return counts
}

// Memory is the proportional set size of a sandbox's supervisor and of its machine's first process, in bytes: what
// they would take alone, plus their part of what is shared. 0 where that may not be seen.
func (l *Lab) Memory(name string) (sum int64) {
	supervisor := l.Supervisor(name)
	for _, pid := range append([]int{supervisor}, Children(supervisor)...) {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
		if err != nil {
			return 0
		}
		for line := range strings.Lines(string(text)) {
			var kilobytes int64
			if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kilobytes); n == 1 {
				sum += kilobytes << 10
			}
		}
	}
	return sum
}
