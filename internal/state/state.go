// Package state keeps what bailey remembers on the host's disk: one directory for each sandbox, with the
// record of what the user asked for, the lock that says whether its supervisor lives, and names for the
// other files there. It survives kill -9, a full disk and a power cut: a sandbox is there whole or not at
// all, and damage stays in the one record that has it. It starts nothing and interprets nothing: what a
// record's fields mean is the business of those who start machines.
//
// What every file is:
//
//	$XDG_STATE_HOME/bailey/            what belongs to this machine (default ~/.local/state)
//	  lock                             held for the moment of a Create, a Sweep or a change of rules
//	  trusted.json                     projects' own files that the user accepted, by path and hash
//	  sandboxes/NAME/sandbox.json      Record
//	  sandboxes/NAME/lock              held by the supervisor for its whole life; contains its pid, for display
//	  sandboxes/NAME/rules.json        Grants: rules given with bailey allow and deny
//	  sandboxes/NAME/credentials.json  what stands for secrets inside
//	  sandboxes/NAME/projected/        files of variables as they are shown inside
//	  sandboxes/NAME/frozen            why a human must look before it goes on
//	  sandboxes/NAME/audit.jsonl       every decision about the network, one line each
//	  sandboxes/NAME/supervisor.log    what the supervisor had to say
//	  sandboxes/NAME/api.sock          the supervisor's API, while it runs
//	  sandboxes/NAME/layers/           the backend's: what the sandbox wrote outside its mounts
//	  sandboxes/NAME/home/             $HOME inside
//	  sandboxes/NAME/layer-N/          what the agent wrote to the workspace N that is under review
//	  sandboxes/NAME/layer-N-git/      the same for the repository of a linked worktree
//	  sandboxes/NAME/clone-N/          the clone of the workspace N, below its layer
//	  sandboxes/NAME/review-N/         what was shown and applied of it, and an apply under way
//	  sandboxes/NAME/guarded.json      what is guarded while it runs
//	  sandboxes/NAME/quarantine/       protected names that the agent made in the workspace
//	  sandboxes/NAME/snapshots/        copies of what the sandbox wrote
//	  sandboxes/NAME/restoring/        one that is being put back
//	  sandboxes/.new-*                 a Create under way, or one that was killed
//	  sandboxes/.removed-*             a Remove under way, or one that was killed
//	$XDG_DATA_HOME/bailey/agents/      installed agents (default ~/.local/share)
//	$XDG_DATA_HOME/bailey/secrets/     the user's secrets, see package secret
//	$XDG_DATA_HOME/bailey/host/        copies of the host's configuration, below every root
//	$XDG_CONFIG_HOME/bailey/config.yaml  the user's defaults (default ~/.config)
//	$XDG_CONFIG_HOME/bailey/rules.json   Grants: rules given with bailey allow and deny --global
package state

import (
	"errors"
	"fmt"
)

// Names inside one sandbox's directory. The package comment says what each is.
const (
	RecordFile = "sandbox.json"
	LockFile   = "lock"
	GrantsFile = "rules.json" // also in Dirs.Config
	AuditFile  = "audit.jsonl"
	LogFile    = "supervisor.log"
	SocketFile = "api.sock"
	LayersDir  = "layers"
	HomeDir    = "home"

	CredentialsFile = "credentials.json"
	FrozenFile      = "frozen"
	ProjectedDir    = "projected"

	QuarantineDir = "quarantine"
	SnapshotsDir  = "snapshots"
	RestoringDir  = "restoring"
	GuardedFile   = "guarded.json"
)

// Names inside Dirs.
const (
	SandboxesDir = "sandboxes"    // in Dirs.State
	StoreLock    = "lock"         // in Dirs.State
	TrustFile    = "trusted.json" // in Dirs.State
	AgentsDir    = "agents"       // in Dirs.Data
	HostCacheDir = "host"         // in Dirs.Data
	AuthorityDir = "ca"           // in Dirs.Data
	SecretsDir   = "secrets"      // in Dirs.Data
	UsageDir     = "usage"        // in Dirs.Data
	ConfigFile   = "config.yaml"  // in Dirs.Config

	newPrefix     = ".new-"
	removedPrefix = ".removed-"
)

// Sentinels that a caller branches on.
var (
	// ErrExists: the name is taken.
	ErrExists = errors.New("a sandbox of that name exists")
	// ErrNotFound: there is no sandbox of that name, or it was removed in the meantime.
	ErrNotFound = errors.New("no such sandbox")
	// ErrCorrupt: the record cannot be read as one that this version wrote. The directory is untouched.
	ErrCorrupt = errors.New("damaged sandbox record")
	// ErrLocked: another process, normally the supervisor, holds the sandbox.
	ErrLocked = errors.New("sandbox is in use")
)

// LayerDir is where what is written to the workspace with the number n goes, if that is under review.
func LayerDir(n int) string { return fmt.Sprintf("layer-%d", n) }

// CloneDir is the clone of the workspace with the number n, if that has one.
func CloneDir(n int) string { return fmt.Sprintf("clone-%d", n) }

// CloneObjects is where, inside, that clone finds the objects that it shares with the user's repository.
func CloneObjects(n int) string { return fmt.Sprintf("/run/bailey/objects-%d", n) }

// ReviewDir is what the host keeps of that review.
func ReviewDir(n int) string { return fmt.Sprintf("review-%d", n) }
