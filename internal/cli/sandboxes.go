package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/agent"
	"github.com/bailey-sandbox/bailey/internal/api"
	"github.com/bailey-sandbox/bailey/internal/config"
	"github.com/bailey-sandbox/bailey/internal/failpoint"
	"github.com/bailey-sandbox/bailey/internal/guestproto"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/state"
	"github.com/bailey-sandbox/bailey/internal/supervise"
	"github.com/bailey-sandbox/bailey/internal/workspace"
)

// settle is how often a supervisor that is starting or ending is asked again.
const settle = 10 * time.Millisecond

// A supervisor that was stopped (SIGSTOP), or hangs, accepts connections and answers nobody. patience is longer
// than a start or a stop ever takes; a listing asks only for as long as an idle supervisor may need.
const (
	patience = 20 * time.Second
	glance   = 2 * time.Second
)

// silent is the error about such a supervisor.
func silent(sb *state.Sandbox) error {
	_, pid, _ := sb.Locked()
	return sandbox.WithHint(fmt.Errorf("the supervisor of %s does not answer", sb.Name), killing("kill -9", pid))
}

// cutOff says that a supervisor died while it was asked. It holds the lock a moment longer.
func cutOff(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// killing is the hint to kill a supervisor, unless its number is not known: 0 would be the user's own shell.
func killing(command string, pid int) string {
	if pid <= 0 {
		return ""
	}
	return fmt.Sprintf("%s %d", command, pid)
}

// load opens the state directory and reads one sandbox.
func (a *app) load(name string) (*state.Sandbox, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	return store.Load(name)
}

// up returns the supervisor of sb, which it starts when none is there. started says whether it did.
func (a *app) up(ctx context.Context, store *state.Store, sb *state.Sandbox) (c *api.Client, started bool, err error) {
	for begun := time.Now(); ; {
		c, err := api.Dial(ctx, sb.Dir)
		if !errors.Is(err, api.ErrNotRunning) {
			return c, false, err
		}
		held, _, err := sb.Locked()
		if err != nil {
			return nil, false, err
		}
		if held && time.Since(begun) > patience {
			return nil, false, silent(sb)
		}
		if held { // somebody else's start or stop is under way
			select {
			case <-ctx.Done():
				return nil, false, ctx.Err()
			case <-time.After(settle):
				continue
			}
		}
		version, err := a.ensureAgent(ctx, store, sb)
		if err != nil {
			return nil, false, err
		}
		loan, err := a.loan(store, sb)
		if err != nil {
			return nil, false, err
		}
		err = supervise.Spawn(ctx, a.cfg.Self, sb, version, a.cfg.Environ, loan)
		if errors.Is(err, api.ErrRunning) {
			continue // another start was faster
		}
		if err != nil {
			return nil, false, err
		}
		c, err = api.Dial(ctx, sb.Dir)
		return c, true, err
	}
}

// ensureAgent fetches the sandbox's agent when it is not in the cache, and returns its exact version.
func (a *app) ensureAgent(ctx context.Context, store *state.Store, sb *state.Sandbox) (string, error) {
	ag, err := a.findAgent(sb.Agent)
	if err != nil {
		return "", err
	}
	registry, err := agent.ReadRegistry(a.getenv("HOME"), a.getenv)
	if err != nil {
		return "", err
	}
	progress := a.newProgress("fetching " + ag.Name)
	defer progress.done()
	cache := agent.Store{
		Dir:      filepath.Join(store.Dirs().Data, state.AgentsDir),
		Registry: registry,
		Platform: agent.HostPlatform(),
		Progress: progress.update,
	}
	installed, err := cache.Ensure(ctx, ag, sb.AgentVersion)
	if err != nil {
		return "", err
	}
	if installed.Node {
		if _, err := exec.LookPath("node"); err != nil {
			return "", agent.NeedsNode(ag)
		}
	}
	if installed.Stale != nil {
		a.note("using %s %s from the cache: %s", ag.Name, installed.Version, installed.Stale)
	}
	return installed.Version, nil
}

// findAgent returns the agent called name, built in or the user's own.
func (a *app) findAgent(name string) (agent.Agent, error) {
	user, err := a.userConfig()
	if err != nil {
		return agent.Agent{}, err
	}
	return agent.Find(name, user.Agents)
}

// userConfig reads config.yaml.
func (a *app) userConfig() (config.Config, error) {
	dirs, err := state.Locate(a.getenv, uid())
	if err != nil {
		return config.Config{}, err
	}
	return config.Load(filepath.Join(dirs.Config, state.ConfigFile))
}

// running returns the supervisor of a sandbox that must be running.
func (a *app) running(ctx context.Context, name string) (*api.Client, *state.Sandbox, error) {
	sb, err := a.load(name)
	if err != nil {
		return nil, nil, err
	}
	c, err := api.Dial(ctx, sb.Dir)
	if errors.Is(err, api.ErrNotRunning) {
		return nil, nil, sandbox.WithHint(fmt.Errorf("the sandbox %s is not running", name), "bailey start "+name)
	}
	return c, sb, err
}

// guest opens a stream and speaks guestproto on it.
func guest(ctx context.Context, c *api.Client) (*guestproto.Client, error) {
	asked, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var g *guestproto.Client
	conn, err := c.Stream(asked)
	if err == nil {
		g, err = guestproto.Dial(asked, conn)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("the sandbox does not answer")
	}
	return g, err
}

// down stops sb and returns when its supervisor has ended. Stopping what does not run is no error.
func (a *app) down(ctx context.Context, sb *state.Sandbox) error {
	asked, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		c, err := api.Dial(asked, sb.Dir)
		if err == nil {
			err = c.Stop(asked)
		}
		held, pid, lockErr := sb.Locked()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case asked.Err() != nil && held:
			return silent(sb)
		case lockErr != nil:
			return lockErr
		case !held:
			return nil
		case err != nil && !errors.Is(err, api.ErrNotRunning) && !cutOff(err):
			return sandbox.WithHint(fmt.Errorf("cannot stop %s: %w", sb.Name, err), killing("kill", pid))
		}
		select { // starting, or about to end
		case <-asked.Done():
		case <-time.After(settle):
		}
	}
}

// discard lets the backend delete what it keeps of sb. Without a known backend, all are asked: a damaged
// record must not keep its remains alive.
func (a *app) discard(ctx context.Context, sb *state.Sandbox) error {
	var errs []error
	for _, b := range a.cfg.Backends(a.log()) {
		if sb.Backend == "" || sb.Backend == "auto" || sb.Backend == b.Name() {
			errs = append(errs, b.Remove(ctx, sb.Name, sb.Dir))
		}
	}
	return errors.Join(errs...)
}

// remove deletes sb, which must not run.
func (a *app) remove(ctx context.Context, sb *state.Sandbox) error {
	lock, err := sb.TryLock()
	switch {
	case errors.Is(err, state.ErrNotFound):
		return nil // a temporary one has just removed itself
	case err != nil:
		return err
	}
	defer lock.Unlock()
	if err := failpoint.Hit("rm.locked"); err != nil {
		return err
	}
	// The quarantine goes with the sandbox, so nobody need be told where what was found is now.
	err = supervise.FinishGuards(sb, func(workspace.Hit) {})
	if err != nil {
		a.log().Error("the workspace was not searched for what the agent made at last, which programs on this host would execute", "sandbox", sb.Name, "error", err)
	}
	if err := errors.Join(a.discard(ctx, sb), failpoint.Hit("rm.discarded")); err != nil {
		return fmt.Errorf("cannot remove %s: %w", sb.Name, err)
	}
	return sb.Remove()
}

// status is one word on a sandbox, and the supervisor's view when it answers.
func (a *app) status(ctx context.Context, e state.Entry) (string, *api.Inspect) {
	if e.Err != nil {
		return "corrupt", nil
	}
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	c, err := api.Dial(ctx, e.Sandbox.Dir)
	if err == nil {
		if v, err := c.Inspect(ctx); err == nil {
			return "running", &v
		}
	}
	if held, _, err := e.Sandbox.Locked(); err == nil && held {
		return "busy", nil // starting, stopping, or silent
	}
	return "stopped", nil
}

// names completes sandbox names for the shell.
func (a *app) names(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	store, err := a.store()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	entries, _ := store.List()
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// each calls do for every sandbox named, reports each failure, and goes on. The first failure decides the exit code.
func (a *app) each(names []string, do func(sb *state.Sandbox) error, corruptToo bool) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	return a.eachName(names, func(name string) error {
		sb, err := store.Load(name)
		if err == nil || corruptToo && errors.Is(err, state.ErrCorrupt) {
			err = do(sb)
		}
		return err
	})
}

// eachName is each for names of other things. It prints those for which do has worked.
func (a *app) eachName(names []string, do func(name string) error) error {
	failed := 0
	for _, name := range names {
		if err := do(name); err != nil {
			a.printError(err)
			if failed == 0 {
				failed = exitCode(err)
			}
			continue
		}
		fmt.Fprintln(a.Out, name)
	}
	if failed != 0 {
		return &exitError{code: failed}
	}
	return nil
}
