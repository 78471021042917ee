package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

type object = map[string]any

// The names of the canaries that Seed puts into the sandbox's home.
const (
	CanaryKeyID = "aws-access-key-id"
	CanaryKey   = "aws-secret-access-key"
)

// canarySeeds lie where a thief of secrets looks first. No program uses that profile without being told its name. Whoever
// has a file of their own there keeps it.
func canarySeeds(canaries map[string]string) []seed {
	if len(canaries) == 0 {
		return nil
	}
	return []seed{{".aws/credentials", unlessThere(fmt.Sprintf("[prod-backup]\naws_access_key_id = %s\naws_secret_access_key = %s\n", canaries[CanaryKeyID], canaries[CanaryKey]))}}
}

// unlessThere makes a file that nobody has made.
func unlessThere(content string) func([]byte) ([]byte, error) {
	return func(old []byte) ([]byte, error) {
		if old != nil {
			return old, nil
		}
		return []byte(content), nil
	}
}

// tokenSeeds are the files of programs that are no agents. Whoever has a file of their own there keeps it.
func tokenSeeds(tokens map[string]string) (seeds []seed) {
	for service, file := range map[string]struct{ path, format string }{
		"github": {".config/gh/hosts.yml", "github.com:\n    oauth_token: %s\n    user: x-access-token\n    git_protocol: https\n"},
		"pypi":   {".pypirc", "[pypi]\nusername = __token__\npassword = %s\n"},
	} {
		if token := tokens[service]; token != "" {
			seeds = append(seeds, seed{file.path, unlessThere(fmt.Sprintf(file.format, token))})
		}
	}
	return seeds
}

func claudeSeeds(in SeedInput) []seed {
	projects := object{}
	for _, w := range in.Workspaces {
		projects[w] = object{"hasTrustDialogAccepted": true}
	}
	answers := object{"hasCompletedOnboarding": true, "projects": projects}
	if key := in.Env["ANTHROPIC_API_KEY"]; key != "" {
		// "Do you want to use this API key?" is remembered by the key's last 20 characters.
		answers["customApiKeyResponses"] = object{"approved": []any{key[max(0, len(key)-20):]}}
	}
	seeds := []seed{
		{".claude.json", addJSON(answers)},
		{".claude/settings.json", addJSON(object{"skipDangerousModePermissionPrompt": true})},
	}
	if in.Login != nil {
		// The tokens themselves are renewed outside, so that these last.
		seeds = append(seeds, seed{".claude/.credentials.json", setJSON("claudeAiOauth", object{"accessToken": in.Login.Access, "refreshToken": in.Login.Refresh,
			"expiresAt": time.Now().AddDate(1, 0, 0).UnixMilli(), "scopes": in.Login.Scopes, "subscriptionType": "max"})})
	}
	return seeds
}

func codexSeeds(in SeedInput) []seed {
	seeds := []seed{{".codex/config.toml", func(old []byte) ([]byte, error) {
		return codexConfig(old, in.Workspaces), nil
	}}}
	if in.Login != nil {
		return append(seeds, seed{".codex/auth.json", func(old []byte) ([]byte, error) {
			return editJSON(old, func(top object) {
				delete(top, "OPENAI_API_KEY") // it would be used instead
				top["auth_mode"], top["last_refresh"] = "chatgpt", time.Now().UTC().Format(time.RFC3339Nano)
				top["tokens"] = object{"id_token": in.Login.Identity, "access_token": in.Login.Access, "refresh_token": in.Login.Refresh, "account_id": in.Login.Account}
			})
		}})
	}
	if key := in.Env["OPENAI_API_KEY"]; key != "" {
		// Interactive Codex ignores the variable and asks how to log in, unless this file has a key.
		seeds = append(seeds, seed{".codex/auth.json", setJSON("OPENAI_API_KEY", key)})
	}
	return seeds
}

// codexConfig adds trust in the workspaces to config.toml. A table's header may follow whatever stands
// above it, so the file need not be understood; a path that it mentions already is left to it.
func codexConfig(old []byte, workspaces []string) []byte {
	text := string(old)
	if strings.TrimSpace(text) == "" {
		text = "check_for_update_on_startup = false\n"
	}
	for _, w := range workspaces {
		quoted := strconv.Quote(w)
		if strings.Contains(text, quoted) || strings.Contains(text, "'"+w+"'") || !plainText(w) {
			continue
		}
		text = strings.TrimRight(text, "\n") + "\n\n[projects." + quoted + "]\ntrust_level = \"trusted\"\n"
	}
	return []byte(text)
}

// plainText tells whether s means the same in a Go and in a TOML string. Codex asks about other paths itself.
func plainText(s string) bool { return strconv.Quote(s) == `"`+s+`"` }

func geminiSeeds(in SeedInput) []seed {
	settings := object{
		"privacy": object{"usageStatisticsEnabled": false},
		"general": object{"enableAutoUpdate": false, "enableAutoUpdateNotification": false},
	}
	if in.Env["GEMINI_API_KEY"] != "" {
		settings["security"] = object{"auth": object{"selectedType": "gemini-api-key"}}
	}
	if in.Login == nil {
		return []seed{{".gemini/settings.json", addJSON(settings)}}
	}
	settings["security"] = object{"auth": object{"selectedType": "oauth-personal"}}
	return []seed{{".gemini/settings.json", addJSON(settings)}, {".gemini/oauth_creds.json", func(old []byte) ([]byte, error) {
		return editJSON(old, func(top object) {
			add(top, object{"token_type": "Bearer", "scope": strings.Join(in.Login.Scopes, " ")})
			top["access_token"], top["refresh_token"], top["expiry_date"] = in.Login.Access, in.Login.Refresh, time.Now().AddDate(1, 0, 0).UnixMilli()
		})
	}}}
}

// addJSON merges values into a JSON object: missing keys and list members are added, the rest stays.
func addJSON(values object) func([]byte) ([]byte, error) {
	return func(old []byte) ([]byte, error) {
		return editJSON(old, func(top object) { add(top, values) })
	}
}

// setJSON sets one key of a JSON object, also where it is there.
func setJSON(key string, value any) func([]byte) ([]byte, error) {
	return func(old []byte) ([]byte, error) {
		return editJSON(old, func(top object) { top[key] = value })
	}
}

// editJSON returns old itself when edit changes nothing.
func editJSON(old []byte, edit func(top object)) ([]byte, error) {
	top, err := decode(old)
	if err != nil {
		return nil, err
	}
	before, err := decode(old)
	if err != nil {
		return nil, err
	}
	edit(top)
	if old != nil && reflect.DeepEqual(before, top) {
		return old, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(top)
	return b.Bytes(), err
}

// decode reads a JSON object, keeping every number as it is written. Nothing at all is an empty object.
func decode(data []byte) (object, error) {
	top := object{}
	if len(bytes.TrimSpace(data)) == 0 {
		return top, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&top); err != nil {
		return nil, fmt.Errorf("it is no JSON object: %w", err)
	}
	if top == nil || d.More() {
		return nil, errors.New("it is no JSON object")
	}
	return top, nil
}

// add merges from into to, in place.
func add(to, from object) {
	for key, value := range from {
		there, ok := to[key]
		switch value := value.(type) {
		case object:
			if !ok {
				there = object{}
				to[key] = there
			}
			if inner, ok := there.(object); ok {
				add(inner, value)
			}
		case []any:
			list, isList := there.([]any)
			if ok && !isList {
				continue
			}
			for _, member := range value {
				if !contains(list, member) {
					list = append(list, member)
				}
			}
			to[key] = list
		default:
			if !ok {
				to[key] = value
			}
		}
	}
}

func contains(list []any, member any) bool {
	for _, m := range list {
		if reflect.DeepEqual(m, member) {
			return true
		}
	}
	return false
}
