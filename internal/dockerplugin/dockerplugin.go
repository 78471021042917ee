// Package dockerplugin makes bailey the Docker CLI's plugin "sandbox", so that docker sandbox run claude . is
// bailey run claude . in another spelling. It knows how the docker command finds, describes and starts its
// plugins (docker/cli, cli-plugins), and puts ours in its place. It knows no command of bailey and talks to no
// Docker daemon.
package dockerplugin

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// Name is the plugin's file name.
	Name = "docker-sandbox"
	// Command is what the user types for it.
	Command = "docker sandbox"
	// MetadataVerb is the argument by which docker asks a plugin what it is.
	MetadataVerb = "docker-cli-plugin-metadata"
	// SocketVariable holds the address of a socket of the docker command that started us, which it closes when
	// we are to end: it gets the signals that are sent to it, and passes none on.
	SocketVariable = "DOCKER_CLI_PLUGIN_SOCKET"
)

// Started reports whether a process that was started as arg0 with args is the plugin.
func Started(arg0 string, args []string) bool {
	return filepath.Base(arg0) == Name || len(args) > 0 && args[0] == MetadataVerb
}

// Metadata is the answer to MetadataVerb.
func Metadata(version string) ([]byte, error) {
	return json.Marshal(struct{ SchemaVersion, Vendor, Version, ShortDescription string }{
		"0.1.0", "bailey", version, "Run coding agents at full autonomy inside a sandbox",
	})
}

// Arguments is our command line without what docker puts into it: its own options and the plugin's name, as
// in "--config DIR sandbox ls", "help sandbox ls" or "__complete sandbox l". What was typed without docker is
// returned as it is.
func Arguments(args []string) []string {
	i := 0
	for i < len(args) && strings.HasPrefix(args[i], "-") {
		if takesValue(args[i]) {
			i++
		}
		i++
	}
	if i >= len(args) {
		return args
	}
	switch verb := args[i]; verb {
	case "sandbox":
		return args[i+1:]
	case "help", "__complete", "__completeNoDesc":
		if i+1 < len(args) && args[i+1] == "sandbox" {
			return append([]string{verb}, args[i+2:]...)
		}
	}
	return args
}

// takesValue is true for the options of docker whose value is the next argument.
func takesValue(option string) bool {
	return slices.Contains([]string{"--config", "-c", "--context", "-H", "--host", "-l", "--log-level", "--tlscacert", "--tlscert", "--tlskey"}, option)
}

// Await calls ended when the docker command that has started us closes its socket at address, or is gone. ctx
// bounds the dialling; the goroutine that waits ends with the process.
func Await(ctx context.Context, address string, ended func()) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", address)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		ended()
	}()
	return nil
}
