package supervise

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// giveBack returns memory that the start took and nothing will need soon: the heap's, and the pages of this program
// itself, which are mapped in large pieces around what is used. They are the file's, and the kernel maps those that are
// used again at their next use. What the loader has changed before it was protected (relocations) is not the file's
// any more, and stays: the kernel counts it as anonymous.
func giveBack() {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	var start, end uint64 // of the mapping that is being described, if it is one of ours
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		// proc_pid_smaps(5): a line with address, permissions, offset, device, inode and path, then its figures.
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && !strings.HasSuffix(fields[0], ":"):
			start, end = 0, 0
			if len(fields) == 6 && fields[5] == self && !strings.Contains(fields[1], "w") {
				from, to, _ := strings.Cut(fields[0], "-")
				start, _ = strconv.ParseUint(from, 16, 64)
				end, _ = strconv.ParseUint(to, 16, 64)
			}
		case end > start && len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0":
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED)
		}
	}
}
