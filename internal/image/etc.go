package image

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/gateway"
	"github.com/bailey-sandbox/bailey/internal/gitconfig"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// etcDirs are the directories of /etc that programs need and that say nothing about the host or its
// users; they are copied. Directories that mix the two (ssl, pki, apt) are named by their harmless parts: private keys,
// entitlements and auth.conf stay outside.
func etcDirs() []string {
	return []string{
		"/etc/alternatives", "/etc/bash_completion.d", "/etc/profile.d", "/etc/skel", "/etc/zsh", "/etc/terminfo",
		"/etc/ca-certificates", "/etc/ssl/certs", "/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/pki/rpm-gpg",
		"/etc/pki/java", "/etc/crypto-policies", "/etc/ld.so.conf.d",
		"/etc/apt/keyrings", "/etc/apt/preferences.d", "/etc/apt/trusted.gpg.d", "/etc/dpkg",
		"/etc/java*", "/etc/.java", "/etc/python*", "/etc/perl", "/etc/ruby*", "/etc/php", "/etc/R", "/etc/julia", "/etc/dotnet",
		"/etc/fonts", "/etc/gdb", "/etc/groff", "/etc/vim", "/etc/emacs", "/etc/xml", "/etc/sgml", "/etc/texmf",
		"/etc/ImageMagick*", "/etc/OpenCL", "/etc/glvnd", "/etc/vulkan",
	}
}

// varDirs are the package databases, without which dpkg, apt and rpm know nothing of what is installed.
func varDirs() []string {
	return []string{"/var/lib/dpkg", "/var/lib/apt", "/var/lib/rpm", "/var/lib/pacman"}
}

// varCopies are small data that programs keep in /var.
func varCopies() []string {
	return []string{
		"/var/lib/alternatives", "/var/lib/gems", "/var/lib/ghc", "/var/lib/texmf", "/var/lib/sgml-base", "/var/lib/xml-core",
	}
}

// etcFiles are the files of /etc that are copied when everybody may read them and no credential is in
// them. Not here although harmless at first sight: environment and wgetrc (proxy passwords), gitconfig
// (credential helpers, headers with tokens), issue and motd (host names), networks, fstab, crontab.
func etcFiles() []string {
	return []string{
		"/etc/ld.so.cache", "/etc/ld.so.conf",
		"/etc/localtime", "/etc/timezone", "/etc/locale.alias", "/etc/locale.conf", "/etc/locale.gen",
		"/etc/mime.types", "/etc/mailcap", "/etc/magic", "/etc/magic.mime",
		"/etc/protocols", "/etc/services", "/etc/rpc", "/etc/ethertypes", "/etc/gai.conf", "/etc/host.conf", "/etc/netconfig",
		"/etc/shells", "/etc/profile", "/etc/bash.bashrc", "/etc/bashrc", "/etc/inputrc", "/etc/zshenv", "/etc/zshrc",
		"/etc/DIR_COLORS", "/etc/login.defs", "/etc/manpath.config", "/etc/man_db.conf", "/etc/nanorc", "/etc/xattr.conf",
		"/etc/os-release", "/etc/lsb-release", "/etc/system-release", "/etc/debian_version", "/etc/alpine-release",
		"/etc/arch-release", "/etc/fedora-release", "/etc/redhat-release", "/etc/SuSE-release",
		"/etc/ca-certificates.conf", "/etc/ssl/openssl.cnf", "/etc/ssl/cert.pem", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf",
		"/etc/apt/sources.list", "/etc/apt/sources.list.d/*", "/etc/npmrc", "/etc/pip.conf",
		"/etc/maven/m2.conf", "/etc/maven/logging/*",
	}
}

// blankable are files within the shown trees that may hold a credential and are then shown empty.
func blankable() []string {
	return []string{"/usr/etc/npmrc", "/usr/local/etc/npmrc", "/usr/lib/node_modules/npm/npmrc", "/usr/local/lib/node_modules/npm/npmrc"}
}

// holdsSecret reports whether a configuration file seems to have a credential: a URL with user info, or
// a setting whose name says so. Where it errs the file is missing inside, which is the safe side.
func holdsSecret(content []byte) bool {
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if _, rest, ok := strings.Cut(line, "://"); ok {
			authority := rest[:strings.IndexAny(rest+"/", "/ \t\"'?#")]
			if strings.Contains(authority, "@") {
				return true
			}
		}
		key, _, ok := strings.Cut(strings.ToLower(line), "=")
		for _, word := range []string{"_auth", "password", "token", "secret"} {
			if ok && strings.Contains(key, word) {
				return true
			}
		}
	}
	return false
}

// gitSettings is a system-wide git configuration with the user's name and address, what logs in.Logins in, and nothing
// else: no credential helper, no signing key, no alias of the user's is inside.
func gitSettings(t tree, in HostInput) []sandbox.File {
	config := in.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) {
		config = filepath.Join(in.HostHome, ".config")
	}
	var settings []gitconfig.Setting
	// In git's own order: the second file's settings come after the first one's.
	for _, path := range []string{filepath.Join(config, "git/config"), filepath.Join(in.HostHome, ".gitconfig")} {
		if content, err := t.readFile(path); err == nil {
			settings = append(settings, gitconfig.Parse(content)...)
		}
	}
	content := append(gitconfig.Identity(settings), gitLogins(in.Logins)...)
	if content == nil {
		return nil
	}
	return []sandbox.File{{Target: "/etc/gitconfig", Mode: 0o644, Content: content}}
}

// synthesised are the files whose host versions would name users, hosts and networks.
func synthesised(in HostInput) []sandbox.File {
	u := in.User
	passwd := "root:x:0:0:root:/root:/bin/sh\n" +
		fmt.Sprintf("%s:x:%d:%d:%s:%s:%s\n", u.Name, u.UID, u.GID, u.Name, u.Home, u.Shell)
	group := "root:x:0:\n" + fmt.Sprintf("%s:x:%d:\n", u.Name, u.GID)
	if u.Name == "root" { // root's sandbox has a user of another number, which may not shadow the real one
		passwd = fmt.Sprintf("%s:x:%d:%d:%s:%s:%s\n", u.Name, u.UID, u.GID, u.Name, u.Home, u.Shell)
		group = fmt.Sprintf("%s:x:%d:\n", u.Name, u.GID)
	}
	// 65534 is what every id that is not mapped into the sandbox looks like.
	if u.UID != 65534 {
		passwd += "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	}
	if u.GID != 65534 {
		group += "nogroup:x:65534:\n"
	}
	resolv := ""
	if in.Network == sandbox.NetworkGateway {
		resolv = "nameserver " + gateway.Gateway + "\n"
	}
	file := func(name, content string) sandbox.File {
		return sandbox.File{Target: "/etc/" + name, Mode: 0o644, Content: []byte(content)}
	}
	return []sandbox.File{
		file("passwd", passwd),
		file("group", group),
		file("hostname", in.Hostname+"\n"),
		file("hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 "+in.Hostname+"\n"),
		file("resolv.conf", resolv),
		file("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"+
			"protocols: files\nservices: files\nethers: files\nrpc: files\n"),
		file("machine-id", in.MachineID+"\n"),
		file("fstab", ""),
	}
}
