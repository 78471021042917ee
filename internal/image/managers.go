package image

// manager is a tool that keeps programs in the user's home directory. Paths are relative to its root;
// they may be globs. Only a manager that PATH leads into is shown, always read-only: what is installed
// inside goes to /usr/local or to directories of the sandbox's own.
type manager struct {
	root     string   // relative to the home directory, or absolute
	variable string   // environment variable that overrides root, passed on when set
	show     []string // what is bound; a glob where new siblings must be installable next to the host's
	hide     []string // files in there that may hold credentials
	jdks     []string // JDKs in there
	env      []string // KEY=VALUE that lets installing work although the host's directories are read-only
}

// managers is the table of what is known. The order decides nothing; roots do not overlap in what they show.
func managers() []manager {
	return []manager{
		{root: ".nvm", variable: "NVM_DIR", show: []string{"."}, hide: []string{"versions/node/*/etc/npmrc"}},
		{root: ".local/share/fnm", variable: "FNM_DIR", show: []string{"."}, hide: []string{"node-versions/*/installation/etc/npmrc"}},
		{root: ".fnm", show: []string{"."}, hide: []string{"node-versions/*/installation/etc/npmrc"}},
		{root: ".volta", variable: "VOLTA_HOME", show: []string{"."}, hide: []string{"tools/image/node/*/etc/npmrc"}},
		{root: ".local/share/pnpm", variable: "PNPM_HOME", show: []string{"."},
			// The store is in there by default and must be writable.
			env: []string{"npm_config_store_dir=/usr/local/share/pnpm-store", "pnpm_config_store_dir=/usr/local/share/pnpm-store"}},
		{root: ".bun", variable: "BUN_INSTALL", show: []string{"bin", "install/global"}, hide: []string{"install/global/.npmrc"},
			env: []string{"BUN_INSTALL_BIN=/usr/local/bin", "BUN_INSTALL_GLOBAL_DIR=/usr/local/share/bun"}},
		{root: ".deno", variable: "DENO_INSTALL", show: []string{"bin"}, env: []string{"DENO_INSTALL_ROOT=/usr/local"}},
		{root: ".pyenv", variable: "PYENV_ROOT", show: []string{"."}, hide: []string{"versions/*/pip.conf"}},
		{root: ".rbenv", variable: "RBENV_ROOT", show: []string{"."}},
		// Of ~/.cargo only the programs: the registry cache must be writable, credentials.toml must not be seen.
		{root: ".cargo", variable: "CARGO_HOME", show: []string{"bin"}, env: []string{"CARGO_INSTALL_ROOT=/usr/local"}},
		{root: ".local/share/mise", variable: "MISE_DATA_DIR", show: []string{"."}, hide: []string{"installs/node/*/etc/npmrc"}, jdks: []string{"installs/java/*"}},
		{root: ".asdf", variable: "ASDF_DATA_DIR", show: []string{"."}, hide: []string{"installs/nodejs/*/etc/npmrc"}, jdks: []string{"installs/java/*"}},
		{root: ".sdkman", variable: "SDKMAN_DIR", show: []string{"."}, hide: []string{"candidates/maven/*/conf/settings.xml"}, jdks: []string{"candidates/java/*"}},
		{root: "go", show: []string{"bin"}, env: []string{"GOBIN=/usr/local/bin"}},
		{root: "sdk", show: []string{"go*"}}, // golang.org/dl
		{root: ".local/go", show: []string{"."}},
		{root: ".linuxbrew", show: []string{"."}, hide: []string{"etc/npmrc"}, jdks: []string{"opt/openjdk*/libexec"}},
		{root: "/home/linuxbrew/.linuxbrew", show: []string{"."}, hide: []string{"etc/npmrc"}, jdks: []string{"opt/openjdk*/libexec"}},
		{root: ".local/bin", show: []string{"."}},
	}
}

// companion is a directory that programs of a manager's need although PATH does not lead there.
type companion struct {
	of       string // the manager's root in the table
	root     string
	variable string
	show     []string
}

func companions() []companion {
	return []companion{
		{of: ".cargo", root: ".rustup", variable: "RUSTUP_HOME", show: []string{"toolchains/*", "settings.toml"}},
		{of: ".asdf", root: ".tool-versions", show: []string{"."}},
		// What links in ~/.local/bin lead to.
		{of: ".local/bin", root: ".local/share/uv", show: []string{"python/*", "tools/*"}},
		{of: ".local/bin", root: ".local/share/pipx", show: []string{"venvs/*"}},
		{of: ".local/bin", root: ".local/pipx", show: []string{"venvs/*"}},
	}
}
