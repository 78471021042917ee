package cli

import (
	"github.com/spf13/cobra"
)

// refusedFlag is a flag that people know from other tools or from our plans, and that is refused by name: so
// nobody relies on what it would do, and it is never mistaken for something else.
type refusedFlag struct {
	name, short string
	value       bool // takes one
	why         string
}

const later = "comes with a later version: it is refused so that nobody relies on it"

func refusedAtCreation() []refusedFlag {
	const images = "comes with a later version, with images: for now sandboxes have this host's programs"
	return []refusedFlag{
		{"publish", "", true, later},
		{"template", "t", true, images},
		{"pull-template", "", true, images},
		{"load-local-template", "", false, images},
		{"mount-docker-socket", "", false, "is refused: what can talk to Docker owns this machine"},
	}
}

func refusedAtExec() []refusedFlag {
	return []refusedFlag{
		{"privileged", "", false, "is refused: no command inside has more rights than the sandbox leaves; -u root installs packages"},
		// A process could hand its connection to any other, and the gateway sees neither.
		{"secret", "", true, "is refused: a secret for one command alone needs connections that can be told apart by their process, which this backend cannot; give that command a sandbox of its own: bailey run --rm --credentials NAME shell ."},
	}
}

func registerRefused(cmd *cobra.Command, flags []refusedFlag) {
	fs := cmd.Flags()
	for _, f := range flags {
		if f.value {
			fs.StringP(f.name, f.short, "", "")
		} else {
			fs.BoolP(f.name, f.short, false, "")
		}
		fs.Lookup(f.name).Hidden = true
	}
}

func checkRefused(cmd *cobra.Command, flags []refusedFlag) error {
	for _, f := range flags {
		if cmd.Flags().Changed(f.name) {
			return usageError(cmd, "--%s %s", f.name, f.why)
		}
	}
	return nil
}
