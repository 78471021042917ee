package agent

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"
)

// Platform is what a native program meets in the sandbox, whose kernel is always Linux.
type Platform struct {
	Arch string // GOARCH
	Libc string // "glibc" or "musl"
	AVX2 bool
}

// HostPlatform is the platform of a sandbox that shows the host's own programs.
func HostPlatform() Platform {
	p := Platform{Arch: runtime.GOARCH, Libc: "glibc", AVX2: cpu.X86.HasAVX2}
	loaders := map[string][2]string{
		"amd64": {"/lib/ld-musl-x86_64.so.1", "/lib64/ld-linux-x86-64.so.2"},
		"arm64": {"/lib/ld-musl-aarch64.so.1", "/lib/ld-linux-aarch64.so.1"},
	}[p.Arch]
	if exists(loaders[0]) && !exists(loaders[1]) {
		p.Libc = "musl"
	}
	return p
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return path != "" && err == nil
}

// native picks the agent's program for p.
func (a Agent) native(p Platform) (Native, error) {
	var have []string
	for _, n := range a.Native {
		if (n.Arch == "" || n.Arch == p.Arch) && (n.Libc == "" || n.Libc == p.Libc) && (!n.AVX2 || p.AVX2) {
			return n, nil
		}
		have = append(have, strings.TrimRight("linux/"+n.Arch+" "+n.Libc, " "))
	}
	return Native{}, fmt.Errorf("%s has no program for linux/%s %s; it has %s", a.Name, p.Arch, p.Libc, strings.Join(have, ", "))
}
