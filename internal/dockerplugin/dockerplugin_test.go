package dockerplugin

import (
	"encoding/json"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestArgumentsAreWithoutDockers(t *testing.T) {
	for typed, want := range map[string]string{
		"sandbox run claude .": "run claude .",
		"sandbox":              "",
		"sandbox sandbox":      "sandbox",
		"--config /c --log-level=info -D sandbox ls -q":     "ls -q",
		"-H sandbox -c sandbox sandbox ls":                  "ls",
		"-Hunix:///x --tls sandbox exec sandbox -c sandbox": "exec sandbox -c sandbox",
		"help sandbox run":                                  "help run",
		"__complete sandbox run ":                           "__complete run ",
		"__completeNoDesc sandbox l":                        "__completeNoDesc l",
		"docker-cli-plugin-metadata":                        "docker-cli-plugin-metadata",
		"run claude . -- sandbox":                           "run claude . -- sandbox",
		"ls":                                                "ls",
		"help":                                              "help",
		"help run":                                          "help run",
		"--help":                                            "--help",
		"--config":                                          "--config",
		"":                                                  "",
	} {
		var args []string
		if typed != "" {
			args = strings.Split(typed, " ")
		}
		if got := strings.Join(Arguments(slices.Clone(args)), " "); got != want {
			t.Errorf("%q became %q, want %q", typed, got, want)
		}
	}
}

func TestTheNameMakesThePlugin(t *testing.T) {
	for arg0, want := range map[string]bool{"docker-sandbox": true, "/x/docker-sandbox": true, "bailey": false, "/docker-sandbox/bailey": false, "": false} {
		if Started(arg0, nil) != want {
			t.Errorf("%q: %v", arg0, !want)
		}
	}
	if !Started("bailey", []string{MetadataVerb}) || Started("bailey", []string{"ls", MetadataVerb}) {
		t.Error("docker's question is not known by its place")
	}
}

func TestMetadataIsWhatDockerAsksFor(t *testing.T) {
	raw, err := Metadata("1.2.3")
	var m map[string]string
	if err != nil || json.Unmarshal(raw, &m) != nil || m["SchemaVersion"] != "0.1.0" || m["Vendor"] == "" || m["Version"] != "1.2.3" {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestTheEndOfDockerIsHeard(t *testing.T) {
	address := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan struct{})
	if err := Await(t.Context(), address, func() { close(ended) }); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte("x"))
	select {
	case <-ended:
		t.Fatal("docker has not ended")
	default:
	}
	_ = conn.Close()
	<-ended
	if err := Await(t.Context(), address+"-none", nil); err == nil {
		t.Error("a socket that is not there is no error")
	}
}

func TestPathFollowsDockersConfiguration(t *testing.T) {
	for _, c := range []struct{ config, home, want string }{
		{"", "/home/ann", "/home/ann/.docker/cli-plugins/docker-sandbox"},
		{"/etc/mine", "/home/ann", "/etc/mine/cli-plugins/docker-sandbox"},
		{"", "", ""}, {"", "ann", ""},
	} {
		got, err := Path(func(key string) string { return map[string]string{"DOCKER_CONFIG": c.config, "HOME": c.home}[key] })
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}
