package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bailey-sandbox/bailey/internal/dockerplugin"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func newDockerPlugin(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "docker-plugin",
		Short: "Make docker sandbox mean bailey",
		Long: `Put this program in as the Docker command's plugin "sandbox", in ~/.docker/cli-plugins or where DOCKER_CONFIG
says: every command of bailey can then be written docker sandbox, too. No Docker daemon is needed. The
plugin is a link to the bailey on your PATH, or a copy when this program is not that one.`,
		Example: "  bailey docker-plugin install\n  docker sandbox run claude .\n  bailey docker-plugin uninstall",
		Args:    takes(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var force bool
	install := &cobra.Command{
		Use:     "install [--force]",
		Short:   "Install the plugin",
		Long:    "Install the plugin. Another program's plugin of that name is only replaced with --force.",
		Example: "  bailey docker-plugin install",
		Args:    takes(0, 0, ""),
		RunE:    func(*cobra.Command, []string) error { return a.installPlugin(force) },
	}
	install.Flags().BoolVarP(&force, "force", "f", false, "replace another program's plugin")
	uninstall := &cobra.Command{
		Use:     "uninstall",
		Short:   "Remove the plugin",
		Long:    "Remove the plugin, if it is bailey's. Sandboxes are not touched.",
		Example: "  bailey docker-plugin uninstall",
		Args:    takes(0, 0, ""),
		RunE:    func(*cobra.Command, []string) error { return a.uninstallPlugin() },
	}
	cmd.AddCommand(install, uninstall)
	return cmd
}

func (a *app) installPlugin(force bool) error {
	path, err := dockerplugin.Path(a.getenv)
	if err != nil {
		return err
	}
	linked, err := dockerplugin.Install(a.cfg.Self, path, force)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.Out, path)
	if linked == "" {
		a.note("it is a copy, because this program is not the bailey on your PATH: install again after an update")
	}
	return nil
}

func (a *app) uninstallPlugin() error {
	path, err := dockerplugin.Path(a.getenv)
	if err != nil {
		return err
	}
	err = dockerplugin.Uninstall(path)
	if errors.Is(err, fs.ErrNotExist) {
		a.note("there is no plugin %s", path)
		return nil
	}
	if err == nil {
		fmt.Fprintln(a.Out, path)
	}
	return err
}

// asPlugin makes a what docker sandbox is, and returns the arguments that are ours.
func (a *app) asPlugin(ctx context.Context, args []string) []string {
	a.program = dockerplugin.Command
	if address := a.getenv(dockerplugin.SocketVariable); address != "" {
		// Who cannot be reached has gone: the signal that we would hear of is lost, nothing else.
		_ = dockerplugin.Await(ctx, address, func() { _ = syscall.Kill(syscall.Getpid(), syscall.SIGTERM) })
	}
	return dockerplugin.Arguments(args)
}

func (a *app) pluginMetadata() error {
	raw, err := dockerplugin.Metadata(buildVersion().Version)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Out, "%s\n", raw)
	return err
}

// spell writes the commands in a text as the user calls us. Texts here and in other packages say "bailey VERB".
func (a *app) spell(text string) string {
	if a.program == program {
		return text
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, program+" ")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		text = after
		verb := after[:len(after)-len(strings.TrimLeft(after, "abcdefghijklmnopqrstuvwxyz-"))]
		begins := before == "" || strings.ContainsAny(before[len(before)-1:], " \n(\"`'")
		if begins && (slices.Contains(a.verbs, verb) || strings.HasPrefix(verb, "--")) {
			b.WriteString(a.program + " ")
		} else {
			b.WriteString(program + " ")
		}
	}
}

// spellHelp does so in the help of cmd and all below it.
func (a *app) spellHelp(cmd *cobra.Command) {
	cmd.Long, cmd.Example = a.spell(cmd.Long), a.spell(cmd.Example)
	for _, sub := range cmd.Commands() {
		a.spellHelp(sub)
	}
}

// newForeign are verbs of docker's own sandbox plugin that bailey has not: each says what to do instead.
func newForeign() []*cobra.Command {
	var all []*cobra.Command
	for _, f := range []struct{ use, why, hint string }{
		{"network", "the network's rules have verbs of their own",
			"bailey allow --sandbox NAME HOST[:PORT]; bailey deny --sandbox NAME HOST; bailey policy log NAME"},
		{"save", "saving a sandbox as an image comes with a later version", ""},
		{"reset", "there is nothing to reset but the sandboxes themselves", "bailey rm -f $(bailey ls -aq)"},
	} {
		all = append(all, &cobra.Command{
			Use: f.use, Hidden: true, DisableFlagParsing: true,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return sandbox.WithHint(fmt.Errorf("%s is refused: %s", cmd.CommandPath(), f.why), f.hint)
			},
		})
	}
	return all
}
