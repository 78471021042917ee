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
	"sync"
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
// start, their git directories, and what their indexes record as repositories in them (see links). Protected
// files that existed need no guard, they are mounts. New repositories are looked for everywhere (see sweeper).
//
// A Guard cannot tell the user from the agent: a protected file that the user makes on the host during
// the run goes to the quarantine as well.
type Guard struct {
	top        string
	watch      map[string]map[string]file // as in Plan, less what has changed since
	quarantine *quarantine
	inotify    *os.File
	dirs       map[int32]*os.File // by watch descriptor; File.Name is the path
	left       map[string]file    // reported and still there, so not to be reported again
	lost       map[string]bool    // reported as HitReplaced: the user's own from now on
	indexes    []indexFile
	written    map[string]bool // directories with files whose content counts: indexes and git's configurations
	configs    configs
	linked     map[string]bool // directories that an index records as repositories: whether there may be none
	linkDirs   int             // how many directories are watched only because of indexes
	unseen     map[string]bool // directories that cannot be watched, and were reported
	leases     leases          // on indexes
	sweeper    *sweeper
	early      []Hit // for Run to report
}

// NewGuard starts watching for what p protects; only Run acts on it, also on what appeared since p was
// made. The directory quarantine must exist and be out of every sandbox's sight; what is on another file
// system is renamed where it is. Run or Close ends the watching.
func NewGuard(p Plan, quarantine string) (*Guard, error) {
	q, err := openQuarantine(quarantine)
	if err != nil {
		return nil, err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		q.Close()
		return nil, sandbox.WithHint(fmt.Errorf("cannot guard the workspace: inotify: %w", err), "allow more watchers: sudo sysctl -w fs.inotify.max_user_instances=1024")
	}
	g := &Guard{top: p.ws, watch: map[string]map[string]file{}, quarantine: q, inotify: os.NewFile(uintptr(fd), "inotify"),
		dirs: map[int32]*os.File{}, left: map[string]file{}, lost: map[string]bool{},
		written: map[string]bool{}, configs: configs{base: p.configs, good: maps.Clone(p.configs)}, linked: map[string]bool{}, unseen: map[string]bool{},
		leases: leases{refused: map[string]bool{}, held: map[string]*os.File{}}, sweeper: newSweeper(p, q)}
	for dir, names := range p.watch {
		g.watch[dir] = maps.Clone(names)
	}
	for _, ix := range p.indexes {
		g.written[filepath.Dir(ix.path)] = true
	}
	for path := range p.configs {
		g.written[filepath.Dir(path)] = true
	}
	for dir := range g.watch {
		if _, err := g.watchDir(dir); err != nil {
			g.Close()
			return nil, err
		}
	}
	for _, ix := range p.indexes {
		if err := g.addIndex(ix); err != nil {
			g.early = append(g.early, Hit{Kind: HitUnseen, Path: ix.path, Err: err})
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
	g.leases.Close()
	return errors.Join(g.quarantine.Close(), g.inotify.Close())
}

// Run moves away what appears, and calls onHit for it, never twice at the same time, until ctx is done; by then
// nothing may run in the sandbox any more, so that what Run does last, looking at everything once more, is
// final. It returns nil and the Guard is closed, but for what that takes the kernel: some 15 ms until nobody
// looks at the inotify instance any more (an SRCU grace period), for which nobody need wait. Any other return
// means that nobody guards any more.
func (g *Guard) Run(ctx context.Context, onHit func(Hit)) error {
	defer func() { go g.Close() }()
	var reporting sync.Mutex
	report := func(h Hit) {
		reporting.Lock()
		defer reporting.Unlock()
		onHit(h)
	}
	var sweeping sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	sweeping.Go(func() { g.sweeper.run(ctx, report) })
	err := g.follow(ctx, report)
	g.all(report)
	g.leases.Close()
	cancel()
	sweeping.Wait()
	return err
}

// all looks at everything that is watched.
func (g *Guard) all(onHit func(Hit)) {
	for _, dir := range slices.Sorted(maps.Keys(g.watch)) {
		g.rescan(dir, onHit)
	}
	for _, ix := range g.indexes {
		g.readLinks(ix, onHit)
	}
}

// follow acts on events until ctx is done.
func (g *Guard) follow(ctx context.Context, onHit func(Hit)) error {
	wake := func() { _ = g.inotify.SetReadDeadline(time.Unix(1, 0)) }
	defer context.AfterFunc(ctx, wake)()
	defer onLeaseBroken(wake)()
	for _, h := range g.early {
		onHit(h)
	}
	g.all(onHit)
	buf := make([]byte, 64<<10)
	for {
		n, err := g.inotify.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = g.inotify.SetReadDeadline(time.Time{})
			if ctx.Err() != nil { // as AfterFunc may have run just before that
				return nil
			}
			g.keepIndexes(onHit)
			continue
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
			g.event(wd, mask, name, onHit)
		}
	}
}

// event handles one event. What it says is only a reason to look: by now things may be different.
func (g *Guard) event(wd int32, mask uint32, name string, onHit func(Hit)) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		g.all(onHit)
		return
	}
	dir := g.dirs[wd]
	switch {
	case dir == nil:
	case mask&(unix.IN_DELETE_SELF|unix.IN_IGNORED) != 0, mask&unix.IN_MOVE_SELF != 0 && dir.Name() != g.top:
		// Whatever takes its place will be seen from the directory above.
		_, _ = unix.InotifyRmWatch(int(g.inotify.Fd()), uint32(wd))
		delete(g.dirs, wd)
		dir.Close()
		g.rescan(dir.Name(), onHit) // or has taken it, and this event came after that was seen
	default:
		path := filepath.Join(dir.Name(), name)
		if mask&unix.IN_MODIFY == 0 {
			g.changed(dir, name, onHit)
		}
		if mask&unix.IN_MODIFY == 0 || g.lost[path] {
			g.look(dir, name, onHit)
		}
		g.rescan(path, onHit)
		for _, ix := range g.indexes {
			if ix.path == path {
				g.readLinks(ix, onHit)
			}
		}
	}
}

// rescan looks at the directory path, which may be another one than before, and at those below it.
func (g *Guard) rescan(path string, onHit func(Hit)) {
	for _, below := range slices.Sorted(maps.Keys(g.watch)) {
		if !within(below, path) {
			continue
		}
		dir, err := g.watchDir(below)
		if err != nil && !g.unseen[below] {
			g.unseen[below] = true // an agent can use up what the kernel allows a user
			onHit(Hit{Kind: HitUnseen, Path: below, Err: err})
		}
		if dir != nil {
			g.scan(dir, onHit)
		}
	}
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
	mask := uint32(events)
	if g.written[path] {
		mask |= unix.IN_MODIFY // git renames such a file into place; an agent may not
	}
	wd, err := unix.InotifyAddWatch(int(g.inotify.Fd()), fmt.Sprintf("/proc/self/fd/%d", fd), mask)
	if err != nil {
		dir.Close()
		return nil, sandbox.WithHint(fmt.Errorf("cannot guard %s: inotify: %w", path, err), "allow more watches: sudo sysctl -w fs.inotify.max_user_watches=524288")
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
		kind := HitReplaced
		if g.configs.has(path) {
			kind = HitConfig
		}
		onHit(Hit{Kind: kind, Path: path})
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
	case g.lost[path] && g.configs.has(path):
		g.keepConfig(dir, name, onHit)
	case !guarded, g.lost[path], now == planned, now == g.left[path]:
	case planned != file{} && !planned.link:
		g.changed(dir, name, onHit)
		if g.configs.has(path) {
			g.keepConfig(dir, name, onHit)
		}
	case name == ".git" && st.Mode&unix.S_IFMT == unix.S_IFDIR && !g.linked[dir.Name()]:
		g.left[path] = now
		onHit(Hit{Kind: HitRepository, Path: path})
	default:
		onHit(g.move(dir, name, now))
	}
}

// move puts the name into the quarantine, whatever it is by now.
func (g *Guard) move(dir *os.File, name string, now file) Hit {
	h := g.quarantine.take(dir, name)
	if h.Kind == HitLeft {
		g.left[h.Path] = now
	}
	return h
}
