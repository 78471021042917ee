package namespace

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

const (
	// rootBase is where ids 0-65535 of a sandbox that root started lie on the host: in the range that
	// systemd's allocation table (UIDS-GIDS) leaves unused, so that whoever breaks out is nobody.
	rootBase = 0x70000000
	idCount  = 65536
)

// mappings are the ids of one machine: inside to host.
type mappings struct {
	uids, gids []syscall.SysProcIDMap
	helper     bool // newuidmap and newgidmap must write them
	privileged bool // the host's root made them
}

// privileged says whether this process is the host's root, who may use any id and translate owners. Root of
// a user namespace, as in a rootless container, is an ordinary user in a hat.
func privileged() bool {
	if os.Getuid() != 0 {
		return false
	}
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") == "0 0 4294967295"
}

// mapIDs says which host ids stand behind the ids inside. Root gives a range that nobody on the host has;
// an ordinary user gives itself and, where the host granted some, subordinate ids.
func mapIDs(u sandbox.User) mappings {
	if privileged() {
		all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: rootBase, Size: idCount}}
		return mappings{uids: all, gids: all, privileged: true}
	}
	uids, uerr := subordinate("/etc/subuid")
	gids, gerr := subordinate("/etc/subgid")
	if uerr != nil || gerr != nil {
		return mappings{
			uids: []syscall.SysProcIDMap{{ContainerID: u.UID, HostID: os.Getuid(), Size: 1}},
			gids: []syscall.SysProcIDMap{{ContainerID: u.GID, HostID: os.Getgid(), Size: 1}},
		}
	}
	return mappings{uids: around(u.UID, os.Getuid(), uids), gids: around(u.GID, os.Getgid(), gids), helper: true}
}

// idRange is Count ids from Start on.
type idRange struct{ Start, Count int }

// around maps inside to host itself, and the ids below and above it to r.
func around(inside, host int, r idRange) []syscall.SysProcIDMap {
	below := min(inside, r.Count)
	maps := []syscall.SysProcIDMap{
		{ContainerID: 0, HostID: r.Start, Size: below},
		{ContainerID: inside, HostID: host, Size: 1},
	}
	if above := min(r.Count-below, idCount-inside-1); above > 0 {
		maps = append(maps, syscall.SysProcIDMap{ContainerID: inside + 1, HostID: r.Start + below, Size: above})
	}
	return maps
}

// usersSupport says whether the sandbox can have users besides its own.
func usersSupport() sandbox.Support {
	if privileged() {
		return sandbox.Yes()
	}
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		if _, err := subordinate(file); err != nil {
			return sandbox.No(err.Error())
		}
	}
	return sandbox.Yes()
}

// subordinate returns the range of ids that file grants to the calling user.
func subordinate(file string) (idRange, error) {
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			return idRange{}, fmt.Errorf("%s is missing (Debian, Ubuntu: uidmap; Fedora: shadow-utils)", tool)
		}
	}
	uid := strconv.Itoa(os.Getuid())
	name := uid
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	f, err := os.Open(file)
	if err != nil {
		return idRange{}, fmt.Errorf("no subordinate ids: %v", err)
	}
	defer f.Close()
	r := findRange(f, name, uid)
	if r.Count < idCount-1 {
		return idRange{}, fmt.Errorf("%s grants %s no range of %d ids (usermod --add-subuids, --add-subgids)", file, name, idCount)
	}
	return r, nil
}

// findRange reads subuid(5): NAME-OR-UID:START:COUNT lines. The largest range of the user wins; malformed
// lines grant nothing.
func findRange(f io.Reader, name, uid string) idRange {
	var best idRange
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) != 3 || fields[0] != name && fields[0] != uid {
			continue
		}
		start, err1 := strconv.Atoi(fields[1])
		count, err2 := strconv.Atoi(fields[2])
		if err1 == nil && err2 == nil && start > 0 && count > best.Count {
			best = idRange{start, count}
		}
	}
	return best
}

// writeWithHelpers has the set-user-id helpers write the maps of a process that has none yet.
func (m mappings) writeWithHelpers(pid int) error {
	run := func(tool string, maps []syscall.SysProcIDMap) error {
		args := []string{strconv.Itoa(pid)}
		for _, e := range maps {
			args = append(args, strconv.Itoa(e.ContainerID), strconv.Itoa(e.HostID), strconv.Itoa(e.Size))
		}
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %v: %s", tool, err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	uids := make(chan error, 1)
	go func() { uids <- run("newuidmap", m.uids) }()
	gerr := run("newgidmap", m.gids)
	if err := <-uids; err != nil {
		return err
	}
	return gerr
}

// hostID returns the host's id behind an id inside.
func hostID(maps []syscall.SysProcIDMap, inside int) int {
	for _, m := range maps {
		if inside >= m.ContainerID && inside < m.ContainerID+m.Size {
			return m.HostID + inside - m.ContainerID
		}
	}
	return -1
}

// userNamespace returns a user namespace with the given maps, to be the id map of a mount. The process
// that makes it is stopped before its first instruction and killed. Only root can write such maps.
func userNamespace(uids, gids []syscall.SysProcIDMap) (*os.File, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: uids,
		GidMappings: gids,
		Ptrace:      true,
		Pdeathsig:   unix.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot make a user namespace for an id-mapped mount: %w", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
}
