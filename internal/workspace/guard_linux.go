package workspace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// events are those after which a name may be there that was not, or a watched directory may be another.
const events = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE |
	unix.IN_MOVE_SELF | unix.IN_DELETE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// Guard watches the names that a Plan protects but that did not exist when it was made: a mount needs
// something to lie on, and bailey puts no file into a project only to have one. The moment such a name
// appears it is moved to a quarantine directory.
//
// What remains is the time between the appearing and the moving, normally well below a millisecond, in
// which a host program that happens to look could act on the file; and names in directories that are not
// watched. Watched are the top of the workspace, the tops of the repositories in it that existed at the
// start, and their git directories. Protected files that existed need no guard, they are mounts.
//
// A Guard cannot tell the user from the agent: a protected file that the user makes on the host during
// the run goes to the quarantine as well.
type Guard struct {
	top        string
	watch      map[string]map[string]file // as in Plan, less what has changed since
	quarantine *os.File
	inotify    *os.File
	dirs       map[int32]*os.File // by watch descriptor; File.Name is the path
	left       map[string]file    // reported and still there, so not to be reported again
	lost       map[string]bool    // reported as HitReplaced: the user's own from now on
	count      int
}

// NewGuard starts watching for what p protects; only Run acts on it, also on what appeared since p was
// made. The directory quarantine must exist and be out of every sandbox's sight; what is on another file
// system is renamed where it is. Run or Close ends the watching.
func NewGuard(p Plan, quarantine string) (*Guard, error) {
	q, err := os.OpenFile(quarantine, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot guard the workspace: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		q.Close()
		return nil, sandbox.WithHint(fmt.Errorf("cannot guard the workspace: inotify: %w", err), "allow more watchers: sudo sysctl -w fs.inotify.max_user_instances=1024")
	}
	g := &Guard{top: p.ws, watch: map[string]map[string]file{}, quarantine: q, inotify: os.NewFile(uintptr(fd), "inotify"),
		dirs: map[int32]*os.File{}, left: map[string]file{}, lost: map[string]bool{}}
	for dir, names := range p.watch {
		g.watch[dir] = maps.Clone(names)
	}
	for dir := range g.watch {
		if _, err := g.watchDir(dir); err != nil {
			g.Close()
			return nil, err
		}
	}
	return g, nil
}

// Close ends a Guard that is not running.
func (g *Guard) Close() error {
	for _, d := range g.dirs {
		d.Close()
	}
	g.dirs = nil
	return errors.Join(g.quarantine.Close(), g.inotify.Close())
}

// Run moves away what appears, and calls onHit for it from its own goroutine, until ctx is done; then it
// returns nil and the Guard is closed, but for what that takes the kernel: some 15 ms until nobody looks at
// the inotify instance any more (an SRCU grace period), for which nobody need wait. Any other return
// means that nobody guards any more.
func (g *Guard) Run(ctx context.Context, onHit func(Hit)) error {
	defer func() { go g.Close() }()
	defer context.AfterFunc(ctx, func() { _ = g.inotify.SetReadDeadline(time.Unix(1, 0)) })()
	for _, wd := range slices.Sorted(maps.Keys(g.dirs)) {
		g.scan(g.dirs[wd], onHit)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := g.inotify.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot guard the workspace: %w", err)
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(b))
			mask := binary.NativeEndian.Uint32(b[4:])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:end]), "\x00")
			b = b[end:]
			if err := g.event(wd, mask, name, onHit); err != nil {
				return err
			}
		}
	}
}

// event handles one event. What it says is only a reason to look: by now things may be different.
func (g *Guard) event(wd int32, mask uint32, name string, onHit func(Hit)) error {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		for dir := range g.watch {
			if err := g.rescan(dir, onHit); err != nil {
				return err
			}
		}
		return nil
	}
	dir := g.dirs[wd]
	switch {
	case dir == nil:
	case mask&(unix.IN_DELETE_SELF|unix.IN_IGNORED) != 0, mask&unix.IN_MOVE_SELF != 0 && dir.Name() != g.top:
		// Whatever takes its place will be seen from the directory above.
		_, _ = unix.InotifyRmWatch(int(g.inotify.Fd()), uint32(wd))
		delete(g.dirs, wd)
		dir.Close()
	default:
		g.changed(dir, name, onHit)
		g.look(dir, name, onHit)
		if path := filepath.Join(dir.Name(), name); g.watch[path] != nil {
			return g.rescan(path, onHit)
		}
	}
	return nil
}

// rescan looks at the directory path, which may be another one than before, and at those below it.
func (g *Guard) rescan(path string, onHit func(Hit)) error {
	for _, below := range slices.Sorted(maps.Keys(g.watch)) {
		if !within(below, path) {
			continue
		}
		dir, err := g.watchDir(below)
		if err != nil {
			return err
		}
		if dir != nil {
			g.scan(dir, onHit)
		}
	}
	return nil
}

// watchDir watches the directory path unless it does not exist or is reached through a link.
func (g *Guard) watchDir(path string) (*os.File, error) {
	fd, err := openDir(path)
	if err == unix.EACCES {
		g.openUp(path)
		fd, err = openDir(path)
	}
	switch {
	case err == unix.ENOENT, err == unix.ENOTDIR, err == unix.ELOOP:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot guard %s: %w", path, err)
	}
	dir := os.NewFile(uintptr(fd), path)
	wd, err := unix.InotifyAddWatch(int(g.inotify.Fd()), fmt.Sprintf("/proc/self/fd/%d", fd), events)
	if err != nil {
		dir.Close()
		return nil, sandbox.WithHint(fmt.Errorf("cannot guard %s: inotify: %w", path, err), "sysctl fs.inotify.max_user_watches")
	}
	if old := g.dirs[int32(wd)]; old != nil {
		old.Close()
	}
	g.dirs[int32(wd)] = dir
	return dir, nil
}

func openDir(path string) (int, error) {
	return unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
}

// openUp gives the owner's rights back to the directories of the workspace on the way to path: the agent
// may take them from the directories that are its to write, and so from us.
func (g *Guard) openUp(path string) {
	below, err := filepath.Rel(g.top, path)
	if err != nil || !filepath.IsLocal(below) {
		return
	}
	dir := g.top
	allow(unix.AT_FDCWD, dir)
	for _, element := range strings.Split(below, "/") {
		dir = filepath.Join(dir, element)
		allow(unix.AT_FDCWD, dir)
	}
}

// allow gives the directory name its owner's rights. A link or anything else that it is by now stays as it is.
func allow(at int, name string) {
	fd, err := unix.Openat2(at, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&0o700 != 0o700 {
		_ = unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), st.Mode&0o7777|0o700)
	}
}

// regain gives an open directory its owner's rights.
func regain(dir *os.File) {
	var st unix.Stat_t
	if unix.Fstat(int(dir.Fd()), &st) == nil && st.Mode&0o700 != 0o700 {
		_ = unix.Fchmod(int(dir.Fd()), st.Mode&0o7777|0o700)
	}
}

func (g *Guard) scan(dir *os.File, onHit func(Hit)) {
	for _, name := range slices.Sorted(maps.Keys(g.watch[dir.Name()])) {
		g.look(dir, name, onHit)
	}
}

// changed forgets what was known of a name that was made, moved or deleted. Numbers of files do not tell
// that: file systems use them again at once.
func (g *Guard) changed(dir *os.File, name string, onHit func(Hit)) {
	planned, guarded := g.watch[dir.Name()][name]
	if !guarded {
		return
	}
	path := filepath.Join(dir.Name(), name)
	g.watch[dir.Name()][name] = file{}
	// What existed and was no link has a mount on it, which the agent cannot get rid of: this is the user's doing.
	if planned != (file{}) && !planned.link {
		g.lost[path] = true
		onHit(Hit{Kind: HitReplaced, Path: path})
	}
}

// look deals with a name that is there and was not when planning.
func (g *Guard) look(dir *os.File, name string, onHit func(Hit)) {
	path := filepath.Join(dir.Name(), name)
	planned, guarded := g.watch[dir.Name()][name]
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.EACCES {
		regain(dir)
		err = unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return
	}
	now := file{dev: uint64(st.Dev), ino: st.Ino, link: st.Mode&unix.S_IFMT == unix.S_IFLNK}
	if g.watch[path] != nil && now.link {
		guarded = true // a link in place of a directory that has protected names
	}
	switch {
	case !guarded, g.lost[path], now == planned, now == g.left[path]:
	case planned != file{} && !planned.link:
		g.changed(dir, name, onHit)
	case name == ".git" && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		g.left[path] = now
		onHit(Hit{Kind: HitRepository, Path: path})
	default:
		onHit(g.move(dir, name, now))
	}
}

// maxTries bounds how often an agent can make a move fail.
const maxTries = 100

// move puts the name into the quarantine, whatever it is by now, or, where that is on another file system,
// under another name in the same directory: what tools look for is the name.
func (g *Guard) move(dir *os.File, name string, now file) Hit {
	path := filepath.Join(dir.Name(), name)
	into, where := int(g.quarantine.Fd()), g.quarantine.Name()
	var err error
	for range maxTries {
		g.count++
		to := fmt.Sprintf("%s-%d-%s", time.Now().UTC().Format("20060102T150405.000"), g.count, strings.TrimLeft(name, "."))
		if where != g.quarantine.Name() {
			to = "quarantined-" + to
		}
		err = unix.Renameat2(int(dir.Fd()), name, into, to, unix.RENAME_NOREPLACE)
		switch err {
		case nil:
			return Hit{Kind: HitMoved, Path: path, MovedTo: filepath.Join(where, to)}
		case unix.EEXIST:
		case unix.EXDEV:
			into, where = int(dir.Fd()), dir.Name()
		case unix.EACCES:
			// The agent may have made the directory, or the one in it, read-only to its owner.
			regain(dir)
			allow(int(dir.Fd()), name)
		default:
			g.left[path] = now
			return Hit{Kind: HitLeft, Path: path, Err: fmt.Errorf("cannot move %s away: %w", path, err)}
		}
	}
	g.left[path] = now
	return Hit{Kind: HitLeft, Path: path, Err: fmt.Errorf("cannot move %s away: %w", path, err)}
}
