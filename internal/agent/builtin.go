package agent

// Builtin returns the agents that are known without configuration, the usual one first. Flags, variables,
// files and hosts were each seen to work with, or read in, the versions of November 2026: Claude Code
// 2.1.329, Codex 0.169.0, OpenCode 1.18.33, Gemini CLI 0.61.0.
func Builtin() []Agent {
	return []Agent{claude(), codex(), opencode(), gemini(), shell()}
}

func claude() Agent {
	const p = "@anthropic-ai/claude-code"
	return Agent{
		Name: "claude", Title: "Claude Code", Package: p,
		Native: []Native{
			{Arch: "amd64", Libc: "glibc", Package: p + "-linux-x64", Bin: "claude"},
			{Arch: "amd64", Libc: "musl", Package: p + "-linux-x64-musl", Bin: "claude"},
			{Arch: "arm64", Libc: "glibc", Package: p + "-linux-arm64", Bin: "claude"},
			{Arch: "arm64", Libc: "musl", Package: p + "-linux-arm64-musl", Bin: "claude"},
		},
		Argv: []string{"claude", "--dangerously-skip-permissions"},
		Env: map[string]string{
			// Without it Claude Code refuses to skip permissions as root, which engines may run it as.
			"IS_SANDBOX":          "1",
			"DISABLE_AUTOUPDATER": "1",
			// Telemetry, error reports, surveys: with it only the API's own host is ever asked.
			"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
		},
		Keys: []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"},
		Hosts: []Host{
			{Name: "api.anthropic.com", Port: 443, Why: "the model", Model: true},
			{Name: "platform.claude.com", Port: 443, Why: "logging in: tokens"},
		},
		carry: below(".claude", "CLAUDE.md", "skills", "agents", "commands", "output-styles"),
		seeds: claudeSeeds,
	}
}

func codex() Agent {
	const p = "@openai/codex"
	return Agent{
		Name: "codex", Title: "Codex", Package: p,
		// The programs are static; the packages are versions of the main one under another name.
		Native: []Native{
			{Arch: "amd64", Package: p + "-linux-x64", Bin: "vendor/x86_64-unknown-linux-musl/bin/codex"},
			{Arch: "arm64", Package: p + "-linux-arm64", Bin: "vendor/aarch64-unknown-linux-musl/bin/codex"},
		},
		// The daemon would copy all 400 MB of the program into the sandbox's home, keep updating
		// itself, and outlive the session.
		Argv: []string{"codex", "--dangerously-bypass-approvals-and-sandbox", "--no-daemon"},
		Keys: []string{"OPENAI_API_KEY"},
		Hosts: []Host{
			{Name: "api.openai.com", Port: 443, Why: "the model, with an API key", Model: true},
			{Name: "chatgpt.com", Port: 443, Why: "the model, with a ChatGPT account", Model: true},
			{Name: "auth.openai.com", Port: 443, Why: "logging in: tokens"},
		},
		carry: below(".codex", "AGENTS.md", "prompts", "skills"),
		seeds: codexSeeds,
	}
}

func opencode() Agent {
	const p = "opencode"
	return Agent{
		Name: "opencode", Title: "OpenCode", Package: "opencode-ai",
		Native: []Native{
			{Arch: "amd64", Libc: "glibc", AVX2: true, Package: p + "-linux-x64", Bin: "bin/opencode"},
			{Arch: "amd64", Libc: "glibc", Package: p + "-linux-x64-baseline", Bin: "bin/opencode"},
			{Arch: "amd64", Libc: "musl", AVX2: true, Package: p + "-linux-x64-musl", Bin: "bin/opencode"},
			{Arch: "amd64", Libc: "musl", Package: p + "-linux-x64-baseline-musl", Bin: "bin/opencode"},
			{Arch: "arm64", Libc: "glibc", Package: p + "-linux-arm64", Bin: "bin/opencode"},
			{Arch: "arm64", Libc: "musl", Package: p + "-linux-arm64-musl", Bin: "bin/opencode"},
		},
		Argv: []string{"opencode"},
		Env: map[string]string{
			// Merged over the configuration files, so none is needed in the sandbox's home.
			"OPENCODE_CONFIG_CONTENT":     `{"share":"disabled","autoupdate":false,"permission":"allow"}`,
			"OPENCODE_DISABLE_AUTOUPDATE": "1",
		},
		Keys: []string{"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "OPENCODE_API_KEY"},
		Hosts: []Host{
			{Name: "models.opencode.ai", Port: 443, Why: "the list of models"},
			{Name: "opencode.ai", Port: 443, Why: "OpenCode's own models", Model: true},
			{Name: "api.anthropic.com", Port: 443, Why: "Anthropic's models", Model: true},
			{Name: "api.openai.com", Port: 443, Why: "OpenAI's models", Model: true},
			{Name: "generativelanguage.googleapis.com", Port: 443, Why: "Google's models", Model: true},
			{Name: "openrouter.ai", Port: 443, Why: "OpenRouter's models", Model: true},
		},
		carry: below(".config/opencode", "AGENTS.md", "agent", "agents", "command", "commands"),
	}
}

func gemini() Agent {
	return Agent{
		Name: "gemini", Title: "Gemini CLI", Package: "@google/gemini-cli",
		Argv: []string{"gemini", "--yolo", "--skip-trust"},
		// To log in it shows a page whose code is pasted, instead of waiting for a browser that is outside.
		Env:  map[string]string{"NO_BROWSER": "true"},
		Keys: []string{"GEMINI_API_KEY"},
		Hosts: []Host{
			{Name: "generativelanguage.googleapis.com", Port: 443, Why: "the model, with an API key", Model: true},
			{Name: "cloudcode-pa.googleapis.com", Port: 443, Why: "the model, with a Google account", Model: true},
			{Name: "oauth2.googleapis.com", Port: 443, Why: "logging in: tokens"},
		},
		carry: below(".gemini", "GEMINI.md", "commands"),
		seeds: geminiSeeds,
	}
}

// shell is a plain shell. It is not a login shell: /etc/profile would replace the sandbox's PATH.
func shell() Agent {
	return Agent{Name: "shell", Title: "Shell", Argv: []string{"bash"}}
}

func below(dir string, names ...string) []string {
	for i, n := range names {
		names[i] = dir + "/" + n
	}
	return names
}
