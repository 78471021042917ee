package guest

import "os"

// expendable has what start makes, and all that it starts, ended by the kernel before PID 1 when memory runs
// out: a command's many small processes would otherwise outlive it, and with PID 1 everybody ends. adjust is
// PID 1's own oom_score_adj (proc_pid_oom_score_adj(5)), which a new process inherits: it is raised for that
// moment, because afterwards the command may have children already. Whoever lowers it again harms its own
// sandbox only, so failing to write is no error. Without adjust nothing is done.
func expendable(adjust *os.File, start func() (int, error)) (int, error) {
	const command, own = "500", "0" // half of the memory there is, more than PID 1 ever has
	if adjust != nil {
		_, _ = adjust.WriteAt([]byte(command), 0)
		defer func() { _, _ = adjust.WriteAt([]byte(own), 0) }()
	}
	return start()
}
