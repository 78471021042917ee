// Package sandbox holds the words and contracts that every other package shares: what a machine is
// made of (Spec), what a backend must do (Backend, Machine), what it can promise (Capabilities) and
// how a sandbox may be called. It starts nothing, opens nothing and imports nothing of ours but
// gateway's types; a backend, the supervisor and the conformance suite meet here.
package sandbox

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/bailey-sandbox/bailey/internal/gateway"
)

// Sentinels. A caller branches on these; everything else is for a human.
var (
	// ErrUnsupported: this host or this backend cannot give what was asked. Nothing was started.
	ErrUnsupported = errors.New("not supported here")
	// ErrContainment: a promised protection could not be set up. Nothing was started (exit code 122).
	ErrContainment = errors.New("containment not met")
	// ErrPolicy: the network policy that was asked for cannot be set up. Nothing was started (exit code 123).
	ErrPolicy = errors.New("network policy not set up")
)

// Backend starts machines of one isolation kind. Its methods may be called from any goroutine.
type Backend interface {
	// Name is the word that --backend takes.
	Name() string
	// Probe says whether this host can run the backend, and what it then promises. The error wraps
	// ErrUnsupported and carries a hint with the command that helps. It changes nothing on the host.
	Probe(ctx context.Context) (Capabilities, error)
	// Start returns a running machine whose guest agent answers, or removes whatever it had begun.
	// Cancelling ctx aborts the start; it does not stop a machine that was returned.
	Start(ctx context.Context, spec Spec) (Machine, error)
	// Recover finds and removes what a dead supervisor left of the machine with that name and
	// directory. It is idempotent, and it never touches what belongs to another machine.
	Recover(ctx context.Context, name, dir string) error
	// Remove deletes what a stopped machine keeps between starts, in dir and elsewhere. It needs no
	// Recover before it. Directories inside dir may belong to ids that only the backend can act as.
	Remove(ctx context.Context, name, dir string) error
	// Copy copies what a machine keeps in the directory from, in which nothing changes meanwhile, to the path to, which does
	// not exist: with owners, modes, times, links and what an overlay's layer is made of. Files share their blocks where the
	// file system can. It returns how many bytes they have, shared ones too.
	Copy(ctx context.Context, from, to string) (int64, error)
}

// Machine is a running sandbox. Its methods may be called from any goroutine.
type Machine interface {
	// Guest opens a new private stream to the guest agent (package guestproto speaks on it). Each
	// call gives an independent stream; the caller closes it.
	Guest(ctx context.Context) (net.Conn, error)
	// Flows is every connection that the sandbox opens, and its DNS questions. It is the same value
	// at every call, nil with NetworkNone, and closed by Stop.
	Flows() gateway.Source
	// StateDir is where the host finds the directory of the MountState called source, for as long as the
	// machine runs. What is in it belongs to the agent.
	StateDir(source string) string
	// Stats reads the machine's use of resources.
	Stats(ctx context.Context) (Stats, error)
	// Stop ends every process inside and returns when they are gone and nothing is left on the host
	// but the layers in Spec.Dir. Idempotent.
	Stop(ctx context.Context) error
	// Done is closed when the machine has ended, for whatever reason.
	Done() <-chan struct{}
}

// Spec is everything a backend needs to start one machine. It is plain data: the caller has already
// resolved, checked and ordered everything in it, and a backend adds no access of its own.
type Spec struct {
	Name     string // unique on this host; see CheckName
	Dir      string // absolute host directory, 0700, the machine's own: layers live here and survive Stop
	Hostname string
	User     User
	Root     Root
	Mounts   []Mount  // in order; a later one may lie inside an earlier one
	Env      []string // KEY=VALUE: the whole environment of what runs inside, the last of a name counts; nothing is inherited
	Workdir  string   // absolute path inside
	Network  Network
	Limits   Limits
}

// User is who sessions run as inside, and whom that stands for on the host.
type User struct {
	Name  string
	UID   int // inside; never 0
	GID   int // inside; never 0
	Home  string
	Shell string

	// HostUID and HostGID own the workspace on the host. For an ordinary user they are the caller's
	// own. When bailey runs as root they are the workspace owner's (possibly 0) and reach the inside
	// only through an id-mapped mount: no process inside ever has them.
	HostUID int
	HostGID int
}

// Root is the root file system, put together from read-only host directories and synthesised files.
type Root struct {
	Layers   []string  // host directories whose trees lie below Files at the root, the first on top
	Lowers   []Lower   // host directories shown below an overlay that belongs to the sandbox
	Binds    []Mount   // read-only host trees that need no overlay (a Nix store, parts of /sys)
	Files    []File    // synthesised, laid over the lowers at every start
	Links    []Symlink // such as /bin -> usr/bin
	Dirs     []Dir     // empty directories of the sandbox's own, kept from start to start
	ReadOnly bool      // no overlay: the lowers themselves, immutable
	Image    string    // for backends that take an image instead; "" is the host's own root
}

// Lower is a host directory at Source that appears at Target.
type Lower struct{ Source, Target string }

// File is a synthesised file.
type File struct {
	Target  string
	Mode    uint32 // permission bits
	Content []byte
}

// Symlink is a symbolic link at Target with the text Text.
type Symlink struct{ Target, Text string }

// Dir is an empty directory. The sandbox's user owns it when Own is set, inside root otherwise.
type Dir struct {
	Target string
	Mode   uint32
	Own    bool
}

// MountKind says what a Mount does. The zero value is invalid.
type MountKind int

const (
	// MountBind shows the host's Source (file or directory) at Target, always nosuid and nodev.
	MountBind MountKind = iota + 1
	// MountHidden makes an existing Target inside an earlier bind read as empty and immutable.
	MountHidden
	// MountProtected makes an existing Target inside an earlier bind immutable: neither written,
	// renamed nor removed. A directory above it can still be renamed, unless it is pinned: whoever
	// plans the mounts pins those that matter. Moving a file into or out of a mount point copies it.
	MountProtected
	// MountPinned makes an existing Target inside an earlier bind a mount point: writable as before,
	// but it cannot be renamed or removed.
	MountPinned
	// MountState shows a directory of the machine's own (Source is relative to Spec.Dir, created when
	// missing, owned by the sandbox's user) at Target.
	MountState
	// MountOverlay shows the host directory Source at Target, where it can be written as in a bind; but what is
	// written goes to the directory Layer of the machine's own (relative to Spec.Dir), and Source stays as it
	// is. Layer's directory "upper" has the changes in the format of the kernel's overlay file system (with
	// user.overlay.* attributes), and can be read from outside at any time.
	MountOverlay
)

// Mount is one entry of the sandbox's view. Targets are absolute and clean.
type Mount struct {
	Kind     MountKind
	Source   string
	Target   string
	Layer    string // of MountOverlay
	ReadOnly bool
}

// Network says what the sandbox is connected to. The zero value is nothing.
type Network int

const (
	// NetworkNone gives the sandbox its own loopback and nothing else.
	NetworkNone Network = iota
	// NetworkGateway gives it one interface whose only neighbour is our gateway.
	NetworkGateway
)

// Limits bound what the sandbox may use. Zero means no limit. A backend that cannot enforce one that
// is set refuses to start with ErrUnsupported.
type Limits struct {
	CPUs   float64 `json:"cpus,omitempty"`   // cores
	Memory int64   `json:"memory,omitempty"` // bytes
	Pids   int     `json:"pids,omitempty"`   // processes and threads
	Disk   int64   `json:"disk,omitempty"`   // bytes of the sandbox's own layers
}

// Capabilities is what a backend promises on this host.
type Capabilities struct {
	Isolation string  `json:"isolation"` // one phrase: what stands between the agent and the host
	CPUs      Support `json:"cpus"`
	Memory    Support `json:"memory"`
	Pids      Support `json:"pids"`
	Disk      Support `json:"disk"`
	Users     Support `json:"users"`   // sessions as another user than the sandbox's own (exec -u)
	Gateway   Support `json:"gateway"` // NetworkGateway
	Overlay   Support `json:"overlay"` // a writable root that leaves the host's alone
}

// Support says whether something can be had here, and if not, why not and what would help. The zero
// value is no.
type Support struct {
	OK  bool   `json:"ok"`
	Why string `json:"why,omitempty"`
}

// Yes is the Support of something that can be had.
func Yes() Support { return Support{OK: true} }

// No is the Support of something that cannot be had, with the reason.
func No(why string) Support { return Support{Why: why} }

// Stats is a machine's use of resources since its start.
type Stats struct {
	CPU       time.Duration `json:"cpu_ns"`
	Memory    int64         `json:"memory_bytes"` // resident now
	Processes int           `json:"processes"`
}
