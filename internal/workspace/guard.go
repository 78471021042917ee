package workspace

// Hit is something that happened to a protected name while the sandbox ran.
type Hit struct {
	Kind    HitKind
	Path    string // absolute; chosen by the agent within limits, so to be escaped before it is shown
	MovedTo string // for HitMoved: where it is now
	Err     error  // for HitLeft: why it is still there; for HitUnseen
}

// HitKind says what was done about a Hit. The zero value is invalid.
type HitKind int

const (
	// HitMoved: a protected name appeared and was moved to the quarantine.
	HitMoved HitKind = iota + 1
	// HitLeft: a protected name appeared and is still there.
	HitLeft
	// HitRepository: a repository appeared. It stays, without what git would execute in it, but until the
	// sandbox has ended the agent can add that again: the host's git had better not be run in it.
	HitRepository
	// HitReplaced: something outside the sandbox replaced or removed a protected file, as git config and
	// most editors do on saving. The kernel has thereby undone the sandbox's protecting mount, so from now
	// on the agent can write the new file, until the sandbox is started again.
	HitReplaced
	// HitConfig: something outside the sandbox replaced a configuration of git's, as git config does. From now on
	// its content is watched instead: with a setting that was not in it at the start and by which git could execute
	// something, it is moved to the quarantine and the last good content takes its place.
	HitConfig
	// HitUnseen: what Path has, or has in it, is not watched for the reason Err.
	HitUnseen
)
