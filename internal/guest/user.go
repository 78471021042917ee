package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// identity is who a command runs as.
type identity struct {
	sandbox.User
	groups []uint32 // supplementary
}

// identify finds whom spec means: "" is the sandbox's own user, otherwise a name or uid, optionally with
// ":group".
func (s *Server) identify(spec string) (identity, error) {
	if s.cfg.User.Name == "" {
		return identity{}, errors.New("no user is configured")
	}
	if spec == "" && s.cfg.User.UID == os.Geteuid() && s.cfg.User.GID == os.Getegid() {
		return identity{User: s.cfg.User}, nil // the ordinary case reads no file
	}
	passwd, err := readAccounts("/etc/passwd")
	if err != nil {
		return identity{}, err
	}
	group, err := readAccounts("/etc/group")
	if err != nil {
		return identity{}, err
	}
	who, err := resolveUser(spec, s.cfg.User, passwd, group)
	if err != nil {
		return identity{}, err
	}
	if !s.cfg.Users && (who.UID != s.cfg.User.UID || who.GID != s.cfg.User.GID) {
		return identity{}, fmt.Errorf("cannot run as user %q: this sandbox has no other user than %s", spec, s.cfg.User.Name)
	}
	return who, nil
}

// credential is nil where nothing has to change.
func (who identity) credential() *syscall.Credential {
	if who.UID == os.Geteuid() && who.GID == os.Getegid() {
		return nil
	}
	return &syscall.Credential{Uid: uint32(who.UID), Gid: uint32(who.GID), Groups: who.groups}
}

// readAccounts reads at most 1 MiB of a file that the sandbox may have replaced by anything.
func readAccounts(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to wait at a FIFO
	if errors.Is(err, os.ErrNotExist) {
		return "", nil // then only numbers can be asked for
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(b), err
}

// resolveUser finds spec in the texts of a passwd(5) and a group(5) file. A uid without an entry is
// allowed, as in docker, and has "/" as its home.
func resolveUser(spec string, base sandbox.User, passwd, group string) (identity, error) {
	name, groupSpec, hasGroup := strings.Cut(spec, ":")
	who := identity{User: base}
	if name != "" && name != base.Name && name != strconv.Itoa(base.UID) {
		fields := findEntry(passwd, name, 7)
		uid, numeric := parseID(name)
		switch {
		case fields != nil:
			var ok1, ok2 bool
			who.Name, who.Home, who.Shell = fields[0], fields[5], fields[6]
			who.UID, ok1 = parseID(fields[2])
			who.GID, ok2 = parseID(fields[3])
			if !ok1 || !ok2 {
				return identity{}, fmt.Errorf("cannot run as user %q: its entry in /etc/passwd is broken", name)
			}
		case numeric:
			who.User = sandbox.User{Name: name, UID: uid, GID: base.GID, Home: "/"}
		default:
			return identity{}, fmt.Errorf("cannot run as user %q: no such user in the sandbox", name)
		}
	}
	if who.Shell == "" {
		who.Shell = "/bin/sh"
	}
	if !hasGroup {
		who.groups = groupsOf(group, who.Name)
		return who, nil
	}
	fields := findEntry(group, groupSpec, 3)
	gid, ok := parseID(groupSpec)
	if fields != nil {
		gid, ok = parseID(fields[2])
	}
	if !ok {
		return identity{}, fmt.Errorf("cannot run as group %q: no such group in the sandbox", groupSpec)
	}
	who.GID = gid
	return who, nil
}

// findEntry returns the fields of the first line whose name is key, or else of the first whose number is;
// nil when there is none with at least that many fields.
func findEntry(text, key string, least int) (found []string) {
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) < least || fields[0] == "" {
			continue
		}
		if fields[0] == key {
			return fields
		}
		if fields[2] == key && found == nil {
			found = fields
		}
	}
	return found
}

// groupsOf lists the groups that name is a member of.
func groupsOf(text, name string) (gids []uint32) {
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) < 4 || !slices.Contains(strings.Split(fields[3], ","), name) {
			continue
		}
		if gid, ok := parseID(fields[2]); ok {
			gids = append(gids, uint32(gid))
		}
	}
	return gids
}

// parseID reads a uid or gid. The largest is no id but "unchanged" (setreuid(2)).
func parseID(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n), err == nil && n != 1<<32-1
}
