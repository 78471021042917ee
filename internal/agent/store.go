package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Store is the cache of fetched agents that all sandboxes share, read-only for each. In Dir:
//
//	PACKAGE/VERSION/PROGRAM-PACKAGE/…  an unpacked package, complete as soon as it is there
//	PACKAGE/tags.json                  what "latest" last meant, see tags
//	PACKAGE/lock                       held while fetching
//	PACKAGE/new-…                      half-made; removed by the next fetch
//
// where a scope's slash is a plus sign. A Store is safe for concurrent use, also by several processes.
type Store struct {
	Dir      string
	Registry Registry
	Platform Platform     // zero is HostPlatform
	HTTP     *http.Client // nil is Go's default, which honours HTTPS_PROXY
	// Progress is told of a download's bytes, often, from the goroutine of Ensure; total is -1 when
	// unknown. It may be nil.
	Progress func(done, total int64)
}

// Installed is an agent that is ready to be shown to a sandbox.
type Installed struct {
	Version string
	Dir     string // absolute; to be mounted read-only
	Bin     string // absolute, inside Dir
	Node    bool   // Bin is a node script: the sandbox needs its own node
	// Stale says why this is not surely the newest: the registry's failure to answer. Else nil.
	Stale error
}

const (
	freshFor  = 24 * time.Hour   // how long a tag's meaning is believed
	retryTime = time.Hour        // how long a registry that did not answer is left alone
	askTime   = 30 * time.Second // for metadata, when nothing else will do
	askQuick  = 5 * time.Second  // for metadata, when the cache will do
)

// Ensure makes the agent's program available and says where. The version is an exact one, or a dist-tag;
// "" is "latest". An exact version that is there needs no network, and a tag at most one question a day,
// without which the last known version is used. An agent without a package needs nothing: the result
// is then zero.
func (s Store) Ensure(ctx context.Context, a Agent, version string) (Installed, error) {
	if a.Package == "" {
		return Installed{}, nil
	}
	if version == "" {
		version = "latest"
	}
	if !versionName(version) {
		return Installed{}, fmt.Errorf("invalid version %q of %s", version, a.Name)
	}
	if s.Platform == (Platform{}) {
		s.Platform = HostPlatform()
	}
	if in, err := s.ready(a, version, time.Now()); err == nil {
		return in, nil
	}
	if _, err := a.native(s.Platform); err != nil && len(a.Native) > 0 {
		return Installed{}, err
	}
	home := s.packageDir(a)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return Installed{}, fmt.Errorf("cannot make the agent cache: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(home, "lock"))
	if err != nil {
		return Installed{}, err
	}
	defer unlock()
	// Somebody else may have fetched it while we waited.
	if in, err := s.ready(a, version, time.Now()); err == nil {
		return in, nil
	}
	return s.update(ctx, a, version)
}

// ready returns what can be used without asking anybody.
func (s Store) ready(a Agent, version string, now time.Time) (Installed, error) {
	t := s.tags(a)[version]
	if age := now.Sub(t.Checked); t.Version != "" && age >= 0 && age < freshFor {
		return s.installed(a, t.Version)
	}
	return s.installed(a, version)
}

// update asks the registry and fetches what it names. The lock is held.
func (s Store) update(ctx context.Context, a Agent, version string) (Installed, error) {
	known := s.tags(a)[version]
	cached, cacheErr := s.installed(a, known.Version)
	wait := askTime
	if cacheErr == nil {
		wait = askQuick
	}
	in, err := s.install(ctx, a, version, wait)
	if errors.Is(err, errUnreachable) && cacheErr == nil && ctx.Err() == nil {
		cached.Stale = err
		return cached, s.setTag(a, version, tag{known.Version, time.Now().Add(retryTime - freshFor)})
	}
	return in, err
}

// install resolves version, fetches it unless it is there, and remembers what a tag meant.
func (s Store) install(ctx context.Context, a Agent, version string, wait time.Duration) (Installed, error) {
	meta, err := s.packument(ctx, a.Package, wait)
	if err != nil {
		return Installed{}, err
	}
	exact, isTag := meta.DistTags[version]
	if !isTag {
		exact = version
	}
	if !versionName(exact) {
		return Installed{}, fmt.Errorf("the registry names an invalid version %q of %s", exact, a.Name)
	}
	in, err := s.installed(a, exact)
	if err != nil {
		if in, err = s.fetchInto(ctx, a, exact, meta, wait); err != nil {
			return Installed{}, err
		}
	}
	if isTag {
		err = s.setTag(a, version, tag{exact, time.Now()})
	}
	return in, err
}

// fetchInto downloads to a directory beside the target and renames it when all of it is verified.
func (s Store) fetchInto(ctx context.Context, a Agent, version string, meta packument, wait time.Duration) (Installed, error) {
	d, err := s.locate(ctx, a, version, meta, wait)
	if err != nil {
		return Installed{}, err
	}
	left, err := filepath.Glob(filepath.Join(s.packageDir(a), "new-*"))
	if err != nil {
		return Installed{}, err
	}
	for _, dir := range left {
		os.RemoveAll(dir)
	}
	made, err := os.MkdirTemp(s.packageDir(a), "new-")
	if err != nil {
		return Installed{}, fmt.Errorf("cannot write to the agent cache: %w", err)
	}
	defer os.RemoveAll(made)
	if err := s.fetch(ctx, d, made); err != nil {
		return Installed{}, fmt.Errorf("cannot install %s %s: %w", a.Name, version, err)
	}
	bin, err := a.program(s.Platform, made)
	if err == nil {
		err = errors.Join(os.Chmod(bin, 0o755), os.Chmod(made, 0o755))
	}
	if err != nil {
		return Installed{}, fmt.Errorf("cannot install %s %s: %w", a.Name, version, err)
	}
	target := s.programDir(a, version)
	err = errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.RemoveAll(target))
	if err == nil {
		err = os.Rename(made, target)
	}
	if err != nil {
		return Installed{}, fmt.Errorf("cannot write to the agent cache: %w", err)
	}
	return s.installed(a, version)
}
