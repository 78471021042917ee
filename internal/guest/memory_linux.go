package guest

import (
	"fmt"
	"os"
)

// sacrifice has the kernel end a command, and what it starts, before the guest itself when memory runs out:
// many small processes of a command would otherwise outlive PID 1, and with that nobody. A command that
// lowers it again (proc_pid_oom_score_adj(5)) harms its own sandbox only. It is no protection, so where it
// cannot be written that is no error.
func sacrifice(pid int) {
	const adjustment = "200" // a fifth of the memory there is
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(adjustment), 0)
}
