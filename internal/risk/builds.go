package risk

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// builds says how the change decides what runs when the project is built, installed or tested.
func builds(c Change) (all []string) {
	base := strings.ToLower(path.Base(c.Path))
	switch {
	case base == "package.json":
		all = append(all, packageScripts(c.Before, c.After)...)
	case isBuildFile(base):
		all = append(all, "it says what runs when the project is built or tested")
	}
	if isLock(base) {
		if hosts := newHosts(c.Before, c.After); len(hosts) > 0 {
			all = append(all, "it takes packages from "+strings.Join(hosts, ", ")+", as it did not before")
		}
	}
	return all
}

func isBuildFile(base string) bool {
	switch base {
	case "makefile", "gnumakefile", "justfile", ".justfile", "taskfile.yml", "taskfile.yaml", "rakefile", "gemfile", "cmakelists.txt", "meson.build",
		"build.rs", "build.zig", "setup.py", "setup.cfg", "conftest.py", "noxfile.py", "tox.ini", "fabfile.py", "tasks.py", "sconstruct", "wscript",
		"pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "gradle-wrapper.properties", "gradlew", "mvnw", "build.sbt",
		"configure", "configure.ac", "autogen.sh", "binding.gyp", "dockerfile", "containerfile", "compose.yml", "compose.yaml", "docker-compose.yml", "docker-compose.yaml",
		"gulpfile.js", "gruntfile.js", "vagrantfile", "procfile", "flake.nix", "shell.nix", "default.nix", "build.bazel", "workspace.bazel", "module.bazel":
		return true
	}
	ext := path.Ext(base)
	// Such as vite.config.ts and eslint.config.mjs, which are programs.
	config := strings.Contains(base, ".config.") && slices.Contains([]string{".js", ".cjs", ".mjs", ".ts", ".cts", ".mts"}, ext)
	return config || ext == ".mk" || ext == ".csproj" || ext == ".targets" || strings.HasPrefix(base, ".eslintrc") || strings.HasPrefix(base, ".babelrc")
}

func isLock(base string) bool {
	switch base {
	case "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "deno.lock", "cargo.lock", "poetry.lock", "uv.lock", "pdm.lock",
		"pipfile.lock", "pipfile", "pyproject.toml", "gemfile.lock", "composer.lock", "composer.json", "go.mod", "cargo.toml", "flake.lock", "package.json":
		return true
	}
	return strings.HasPrefix(base, "requirements") && strings.HasSuffix(base, ".txt")
}

// packageScripts compares what npm and its like run by themselves.
func packageScripts(before, after []byte) []string {
	read := func(data []byte) map[string]string {
		var p struct{ Scripts map[string]string }
		if json.Unmarshal(data, &p) != nil {
			return nil
		}
		return p.Scripts
	}
	if len(after) > 0 && !json.Valid(after) {
		return []string{"it is no valid JSON"}
	}
	old, now := read(before), read(after)
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if old[name] != now[name] {
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("it changes scripts that run on the host: %s", strings.Join(changed, ", "))}
}

// newHosts lists the hosts of addresses in after that before has no address of.
func newHosts(before, after []byte) []string {
	hosts := func(text []byte) map[string]bool {
		all := map[string]bool{}
		address := regexp.MustCompile(`(?i)(?:https?|git|ssh|git\+ssh|git\+https)://(?:[^/@\s"']*@)?([a-z0-9._-]+|\[[0-9a-f:.]+\])`)
		for _, m := range address.FindAllSubmatch(text, -1) {
			all[strings.ToLower(string(m[1]))] = true
		}
		return all
	}
	old := hosts(before)
	var added []string
	for _, host := range slices.Sorted(maps.Keys(hosts(after))) {
		if !old[host] {
			added = append(added, host)
		}
	}
	return added
}
