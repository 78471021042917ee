package image

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

func input(t *testing.T, tree string, env map[string]string) HostInput {
	return HostInput{
		User:     sandbox.User{Name: "ada", UID: 1000, GID: 1000, Home: "/home/ada", Shell: "/bin/bash", HostUID: 1000, HostGID: 1000},
		Hostname: "bailey-x", MachineID: strings.Repeat("0123", 8), Network: sandbox.NetworkGateway,
		HostHome: "/home/ada", Getenv: func(k string) string { return env[k] }, Tree: tree, Cache: t.TempDir(),
	}
}

// scratch makes a host of the given files; a content that starts with "->" is a link, and a path that
// ends in "/" is a directory.
func scratch(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, content := range files {
		path = dir + path
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if text, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(text, path)
		} else if strings.HasSuffix(path, "/") {
			err = os.MkdirAll(path, 0o755)
		} else if err == nil {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func host(t *testing.T, in HostInput) (sandbox.Root, []sandbox.Mount, map[string]string) {
	t.Helper()
	root, mounts, env, err := Host(in)
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		if _, twice := vars[k]; twice {
			t.Errorf("%s is set twice", k)
		}
		vars[k] = v
	}
	return root, mounts, vars
}

func lower(root sandbox.Root, target string) (string, bool) {
	for _, l := range root.Lowers {
		if l.Target == target {
			return l.Source, true
		}
	}
	return "", false
}

func link(root sandbox.Root, target string) string {
	for _, l := range root.Links {
		if l.Target == target {
			return l.Text
		}
	}
	text, _ := os.Readlink(root.Layers[0] + target)
	return text
}

func file(root sandbox.Root, target string) (string, bool) {
	for _, f := range root.Files {
		if f.Target == target {
			return string(f.Content), true
		}
	}
	b, err := os.ReadFile(root.Layers[0] + target)
	return string(b), err == nil
}

func TestRootOfAScratchHost(t *testing.T) {
	dir := scratch(t, map[string]string{
		"/usr/bin/": "", "/usr/lib/os-release": "ID=x", "/opt/": "", "/lib32/libc.so": "",
		"/bin": "->usr/bin", "/lib": "->/usr/lib",
		"/etc/os-release": "->../usr/lib/os-release", "/etc/localtime": "->/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/UTC": "",
		"/etc/protocols": "tcp 6 TCP", "/etc/alternatives/x": "", "/etc/ssl/certs/": "", "/etc/ssl/private/key": "KEY",
		"/etc/passwd": "root:x:0:0\neve:x:1001:1001", "/etc/shadow": "eve:$y$", "/etc/hostname": "castle", "/etc/hosts": "10.1.2.3 castle",
		"/etc/resolv.conf": "nameserver 10.1.2.3", "/etc/machine-id": strings.Repeat("f", 32), "/etc/gitconfig": "[credential]",
		"/etc/npmrc":            "registry=https://mirror.test/npm\n",
		"/etc/pip.conf":         "[global]\nindex-url = https://eve:pw@mirror.test/\n",
		"/usr/local/etc/npmrc":  "//mirror.test/:_authToken=abc\n",
		"/usr/etc/npmrc":        "registry=https://mirror.test/npm\n",
		"/etc/apt/sources.list": "deb https://eve:pw@mirror.test/debian stable main\n", "/etc/apt/auth.conf": "login eve",
		"/etc/apt/sources.list.d/a.list": "deb [signed-by=/x] https://mirror.test/debian stable main\n",
		"/var/lib/dpkg/status":           "", "/var/lib/dpkg/statoverride": "root castle 2755 /x\n", "/var/lib/docker/secret": "", "/nix/store/": "", "/srv/data": "", "/home/eve/.netrc": "",
	})
	if err := os.WriteFile(dir+"/etc/services", []byte("root's alone"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, mounts, _ := host(t, input(t, dir, nil))
	want := []sandbox.Mount{{Kind: sandbox.MountHidden, Target: "/usr/local/etc/npmrc"}, {Kind: sandbox.MountHidden, Target: "/var/lib/dpkg/statoverride"}}
	if !slices.Equal(mounts, want) {
		t.Errorf("mounts without a PATH: %v", mounts)
	}
	for target, source := range map[string]string{"/usr": "/usr", "/opt": "/opt", "/lib32": "/lib32", "/var/lib/dpkg": "/var/lib/dpkg"} {
		if got, _ := lower(root, target); got != dir+source {
			t.Errorf("%s comes from %q", target, got)
		}
	}
	if len(root.Lowers) != 4 {
		t.Errorf("more is shown than the four directories: %v", root.Lowers)
	}
	if _, err := os.Stat(root.Layers[0] + "/etc/ssl/private"); err == nil {
		t.Error("private keys are copied")
	}
	for target, text := range map[string]string{"/bin": "usr/bin", "/lib": "/usr/lib", "/etc/os-release": "../usr/lib/os-release",
		"/etc/localtime": "/usr/share/zoneinfo/UTC", "/var/run": "/run"} {
		if got := link(root, target); got != text {
			t.Errorf("%s is a link to %q", target, got)
		}
	}
	for target, want := range map[string]string{
		"/etc/protocols":                 "tcp 6 TCP",
		"/etc/npmrc":                     "registry=https://mirror.test/npm\n",
		"/etc/alternatives/x":            "",
		"/etc/hostname":                  "bailey-x\n",
		"/etc/machine-id":                strings.Repeat("0123", 8) + "\n",
		"/etc/resolv.conf":               "nameserver " + gateway.Gateway + "\n",
		"/etc/passwd":                    "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000:ada:/home/ada:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"/etc/apt/sources.list.d/a.list": "deb [signed-by=/x] https://mirror.test/debian stable main\n",
	} {
		if got, ok := file(root, target); !ok || got != want {
			t.Errorf("%s is %q", target, got)
		}
	}
	for _, target := range []string{"/etc/shadow", "/etc/gitconfig", "/etc/pip.conf", "/etc/apt/sources.list", "/etc/apt/auth.conf", "/etc/services", "/usr/etc/npmrc"} {
		if got, ok := file(root, target); ok {
			t.Errorf("%s is there: %q", target, got)
		}
	}
	for _, f := range root.Files {
		for _, leak := range []string{"eve", "castle", "10.1.2.3"} {
			if bytes.Contains(f.Content, []byte(leak)) {
				t.Errorf("%s has %q", f.Target, leak)
			}
		}
	}
	if len(root.Binds) != 1 || root.Binds[0].Target != "/nix/store" || !root.Binds[0].ReadOnly {
		t.Errorf("binds: %v", root.Binds)
	}
	in := input(t, dir, nil)
	in.Network = sandbox.NetworkNone
	root, _, _ = host(t, in)
	if got, ok := file(root, "/etc/resolv.conf"); !ok || got != "" {
		t.Errorf("without a network resolv.conf is %q", got)
	}
}

func TestTheUsersGitIdentityAndNothingElse(t *testing.T) {
	dir := scratch(t, map[string]string{"/usr/bin/": "",
		"/home/ada/.config/git/config": "[user]\n\tname = Old\n\temail = ada@example.test\n",
		"/home/ada/.gitconfig":         "[user]\n\tname = Ada\n[credential]\n\thelper = !steal\n[alias]\n\tst = !sh\n"})
	root, _, _ := host(t, input(t, dir, nil))
	if got, _ := file(root, "/etc/gitconfig"); got != "[user]\n\tname = \"Ada\"\n\temail = \"ada@example.test\"\n" {
		t.Errorf("the configuration inside is %q", got)
	}
}

func TestSnapshotFollowsTheHost(t *testing.T) {
	dir := scratch(t, map[string]string{"/usr/bin/": "", "/etc/profile.d/a.sh": "a", "/etc/shells": "/bin/sh\n"})
	in := input(t, dir, nil)
	layer := func() string {
		root, _, _ := host(t, in)
		return root.Layers[0]
	}
	first := layer()
	if again := layer(); again != first {
		t.Errorf("an unchanged host is copied twice: %s, %s", first, again)
	}
	for what, change := range map[string]func() error{
		"a new file in a listed directory": func() error { return os.WriteFile(dir+"/etc/profile.d/b.sh", nil, 0o644) },
		"a listed file with other text":    func() error { return os.WriteFile(dir+"/etc/shells", []byte("/bin/bash\n"), 0o644) },
		"a listed file that was missing":   func() error { return os.WriteFile(dir+"/etc/services", nil, 0o644) },
		"a listed directory by a pattern":  func() error { return os.MkdirAll(dir+"/etc/java-21", 0o755) },
		"a snapshot that was removed":      func() error { return os.RemoveAll(layer()) },
		"a manifest that makes no sense":   func() error { return os.WriteFile(in.Cache+"/manifest.json", []byte("{"), 0o600) },
		"a manifest that points elsewhere": func() error { return os.WriteFile(in.Cache+"/manifest.json", []byte(`{"Dir":"../x"}`), 0o600) },
	} {
		before := layer()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if after := layer(); after == before || !strings.HasPrefix(after, in.Cache+"/etc-") {
			t.Errorf("%s: the snapshot is %s, it was %s", what, after, before)
		}
	}
	if _, ok := file(sandbox.Root{Layers: []string{layer()}}, "/etc/profile.d/b.sh"); !ok {
		t.Error("the new file is missing")
	}
}

func TestVersionManagersOnPath(t *testing.T) {
	dir := scratch(t, map[string]string{
		"/usr/bin/": "", "/bin": "->usr/bin", "/usr/games/": "",
		"/home/ada/.nvm/versions/node/v22/bin/node":       "",
		"/home/ada/.nvm/versions/node/v22/etc/npmrc":      "_authToken=x",
		"/home/ada/.nvm/versions/node/v18/etc":            "->/home/ada/.ssh",
		"/home/ada/.ssh/npmrc":                            "",
		"/home/ada/.cargo/bin/cargo":                      "",
		"/home/ada/.cargo/credentials.toml":               "",
		"/home/ada/.rustup/settings.toml":                 "",
		"/home/ada/.rustup/toolchains/stable/bin/":        "",
		"/home/ada/.rustup/toolchains/gone":               "->/nowhere",
		"/data/pyenv/shims/":                              "",
		"/home/ada/.pyenv":                                "->/data/pyenv",
		"/home/ada/.local/share/fnm/node-versions/v1/bi/": "",
		"/run/fnm/1":             "->/home/ada/.local/share/fnm/node-versions/v1",
		"/home/ada/.bun/bin/bun": "",
		"/home/ada/.sdkman/candidates/java/current/bin/": "",
		"/home/ada/bin/private":                          "",
		"/home/eve/.nvm/bin/":                            "",
	})
	_, mounts, env := host(t, input(t, dir, map[string]string{
		"PATH": "/home/ada/.cargo/bin:.:relative::/home/ada/bin:/home/ada/.nvm/versions/node/v22/bin:/home/ada/.pyenv/shims:" +
			"/run/fnm/1/bi:/usr/games:/usr/bin:/usr/bin/:/home/eve/.nvm/bin:/missing",
		"NVM_DIR": "/home/ada/.nvm", "RUSTUP_HOME": "/home/ada/.rustup", "CARGO_HOME": "/home/ada",
		"JAVA_HOME": "/home/ada/.sdkman/candidates/java/current", "GOROOT": "/usr/bin", "SSH_AUTH_SOCK": "/x",
	}))
	want := "/home/ada/.cargo/bin:/home/ada/.nvm/versions/node/v22/bin:/home/ada/.pyenv/shims:" +
		"/home/ada/.local/share/fnm/node-versions/v1/bi:/usr/games:/usr/bin:/usr/local/bin:/bin"
	if env["PATH"] != want {
		t.Errorf("PATH is %s\n   wanted %s", env["PATH"], want)
	}
	for k, v := range map[string]string{"NVM_DIR": "/home/ada/.nvm", "RUSTUP_HOME": "/home/ada/.rustup", "CARGO_HOME": "/home/ada/.cargo",
		"GOROOT": "/usr/bin", "JAVA_HOME": "", "SSH_AUTH_SOCK": "", "LANG": "C.UTF-8", "HOME": "/home/ada"} {
		if env[k] != v {
			t.Errorf("%s is %q", k, env[k])
		}
	}
	var got []string
	for _, m := range mounts {
		kind := "hidden "
		if m.Kind == sandbox.MountBind {
			kind = strings.TrimPrefix(m.Source, dir) + " at "
			if !m.ReadOnly {
				t.Errorf("%s is writable", m.Target)
			}
		}
		got = append(got, kind+m.Target)
	}
	slices.Sort(got)
	wantMounts := []string{
		"/data/pyenv at /home/ada/.pyenv",
		"/home/ada/.cargo/bin at /home/ada/.cargo/bin",
		"/home/ada/.local/share/fnm at /home/ada/.local/share/fnm",
		"/home/ada/.nvm at /home/ada/.nvm",
		"/home/ada/.rustup/settings.toml at /home/ada/.rustup/settings.toml",
		"/home/ada/.rustup/toolchains/stable at /home/ada/.rustup/toolchains/stable",
		"hidden /home/ada/.nvm/versions/node/v22/etc/npmrc",
	}
	if !slices.Equal(got, wantMounts) {
		t.Errorf("mounts:\n%s", strings.Join(got, "\n"))
	}
}

func TestLocaleAndZone(t *testing.T) {
	dir := scratch(t, map[string]string{"/usr/bin/": "", "/usr/lib/locale/de_DE.utf8/": ""})
	for _, c := range []struct{ name, value, want string }{
		{"LANG", "de_DE.UTF-8", "de_DE.UTF-8"}, {"LANG", "de_DE.utf8", "de_DE.utf8"}, {"LANG", "C.utf8", "C.utf8"},
		{"LANG", "fr_FR.UTF-8", "C.UTF-8"}, {"LANG", "de_DE", "C.UTF-8"}, {"LANG", "", "C.UTF-8"}, {"LANG", "x/../y.UTF-8", "C.UTF-8"},
		{"LC_ALL", "de_DE.UTF-8", "de_DE.UTF-8"}, {"LC_ALL", "C", ""},
		{"TZ", "Europe/Berlin", "Europe/Berlin"}, {"TZ", "UTC", "UTC"}, {"TZ", "/etc/shadow", ""}, {"TZ", "../../x", ""}, {"TZ", ":x", ""},
	} {
		_, _, env := host(t, input(t, dir, map[string]string{c.name: c.value}))
		if env[c.name] != c.want {
			t.Errorf("%s=%q becomes %q", c.name, c.value, env[c.name])
		}
	}
}

func TestHostRefusesWhatWouldForgeAFile(t *testing.T) {
	dir := scratch(t, map[string]string{"/usr/bin/": ""})
	for what, change := range map[string]func(*HostInput){
		"root":                func(in *HostInput) { in.User.UID = 0 },
		"root's group":        func(in *HostInput) { in.User.GID = 0 },
		"a colon in a name":   func(in *HostInput) { in.User.Name = "a:x" },
		"a newline in a home": func(in *HostInput) { in.User.Home = "/h\nroot::0:0" },
		"a relative shell":    func(in *HostInput) { in.User.Shell = "sh" },
		"no machine id":       func(in *HostInput) { in.MachineID = "" },
		"a host name of two":  func(in *HostInput) { in.Hostname = "a b" },
		"a host without /usr": func(in *HostInput) { in.Tree = t.TempDir() },
	} {
		in := input(t, dir, nil)
		if _, _, _, err := Host(in); err != nil {
			t.Fatalf("the control is refused: %v", err)
		}
		change(&in)
		if _, _, _, err := Host(in); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func TestRealHostTellsNothingAboutItself(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the host is no Linux")
	}
	in := input(t, "", map[string]string{"PATH": os.Getenv("PATH")})
	in.HostHome = t.TempDir() // the caller's own version managers are not the point
	root, _, env := host(t, in)
	if len(root.Lowers) == 0 || len(root.Files) == 0 {
		t.Fatal("nothing is shown")
	}
	for _, l := range root.Lowers {
		if info, err := os.Lstat(l.Source); err != nil || !info.IsDir() {
			t.Errorf("lower %v: %v", l, err)
		}
	}
	for _, dir := range filepath.SplitList(env["PATH"]) {
		if strings.HasPrefix(dir, "/root") || strings.HasPrefix(dir, "/home") {
			t.Errorf("PATH has %s", dir)
		}
	}
	var words []string
	if name, err := os.Hostname(); err == nil && name != "localhost" {
		words = append(words, name)
	}
	passwd, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer passwd.Close()
	for s := bufio.NewScanner(passwd); s.Scan(); {
		f := strings.Split(s.Text(), ":")
		if uid, err := strconv.Atoi(f[2]); err == nil && uid >= 1000 && uid < 60000 && f[0] != "ada" {
			words = append(words, f[0])
		}
	}
	isWord := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}
	for _, f := range root.Files {
		if len(f.Content) > 64<<10 || bytes.Contains(f.Content, []byte{0}) {
			continue // tables and binaries that distributions ship, where a word means nothing
		}
		for _, w := range strings.FieldsFunc(string(f.Content), isWord) {
			if slices.Contains(words, w) {
				t.Errorf("%s names %q", f.Target, w)
			}
		}
	}
}

func FuzzHoldsSecret(f *testing.F) {
	f.Add([]byte("registry=https://u:p@h/\n"))
	f.Add([]byte("//h/:_authToken=x"))
	f.Add([]byte("a://"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if more := append(append([]byte{}, content...), "\n_authToken=x\n"...); !holdsSecret(more) {
			t.Errorf("a token at the end is missed after %q", content)
		}
	})
}
