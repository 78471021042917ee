package memory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// family is the proportional set size of a process and of its children, in MiB: of a supervisor and the guest,
// which is its only child, without what runs in sessions.
func family(pid int) (float64, error) {
	proc := "/proc/" + strconv.Itoa(pid)
	total, err := size(proc)
	if err != nil {
		return 0, err
	}
	lists, err := filepath.Glob(proc + "/task/*/children")
	if err != nil || len(lists) == 0 {
		return 0, errors.New("the kernel does not list its children")
	}
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(children)) {
			own, err := size("/proc/" + child)
			if err != nil {
				return 0, err
			}
			total += own
		}
	}
	return total, nil
}

// Size is the proportional set size of a process, in MiB.
func Size(pid int) (float64, error) { return size("/proc/" + strconv.Itoa(pid)) }

func size(proc string) (float64, error) {
	rollup, err := os.ReadFile(proc + "/smaps_rollup")
	if err != nil {
		return 0, err
	}
	return parseRollup(string(rollup))
}

// parseRollup takes the Pss line, in MiB.
func parseRollup(rollup string) (float64, error) {
	for line := range strings.Lines(rollup) {
		if text, ok := strings.CutPrefix(line, "Pss:"); ok {
			var kib float64
			if _, err := fmt.Sscanf(text, "%f kB", &kib); err != nil {
				return 0, fmt.Errorf("cannot read %q: %w", line, err)
			}
			return kib / 1024, nil
		}
	}
	return 0, errors.New("there is no proportional set size")
}
