package cli

import (
	"github.com/spf13/cobra"
)

func newAttach(a *app) *cobra.Command {
	var keys string
	cmd := &cobra.Command{
		Use:               "attach [flags] NAME",
		Short:             "Attach to a sandbox's running agent",
		Long:              "Attach to the agent that runs in a sandbox: its last output is shown again, then it goes on live.",
		Example:           "  bailey attach claude-shop",
		Args:              takes(1, 1, "NAME"),
		ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			detachKeys, err := parseDetachKeys(keys)
			if err != nil {
				return err
			}
			c, sb, err := a.running(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.enterAgent(cmd.Context(), c, sb, agentOptions{attachOnly: true, detachKeys: detachKeys})
		},
	}
	cmd.Flags().StringVar(&keys, "detach-keys", defaultDetachKeys, "`KEYS` that detach from the agent")
	return cmd
}
