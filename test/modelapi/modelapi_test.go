package modelapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func post(t *testing.T, s *Server, path, body string, header ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	if len(header) == 2 {
		r.Header.Set(header[0], header[1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	data, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(data)
}

func TestEachInterfaceCallsTheToolItIsOfferedAndThenTalks(t *testing.T) {
	for _, c := range []struct{ name, path, first, second, call string }{
		{"Anthropic Messages", "/v1/messages",
			`{"tools":[{"name":"Bash"}],"messages":[{"role":"user","content":"hi"}]}`,
			`{"tools":[{"name":"Bash"}],"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}`, `"name":"Bash"`},
		{"OpenAI Responses", "/v1/responses",
			`{"tools":[{"name":"exec_command"}],"input":[]}`,
			`{"tools":[{"name":"exec_command"}],"input":[{"type":"function_call_output"}]}`, `"name":"exec_command"`},
		{"OpenAI Chat Completions", "/v1/chat/completions",
			`{"tools":[{"function":{"name":"bash"}}],"messages":[]}`,
			`{"tools":[{"function":{"name":"bash"}}],"messages":[{"role":"tool"}]}`, `"name":"bash"`},
		{"Gemini", "/v1beta/models/m:generateContent",
			`{"tools":[{"functionDeclarations":[{"name":"run_shell_command"}]}],"contents":[]}`,
			`{"tools":[{"functionDeclarations":[{"name":"run_shell_command"}]}],"contents":[{"parts":[{"functionResponse":{}}]}]}`, `"name":"run_shell_command"`},
	} {
		for _, stream := range []bool{false, true} {
			name, path, first, second := c.name, c.path, c.first, c.second
			if stream {
				name += ", streamed"
				path = strings.Replace(path, ":generate", ":streamGenerate", 1)
				first = `{"stream":true,` + first[1:]
				second = `{"stream":true,` + second[1:]
			}
			t.Run(name, func(t *testing.T) {
				s := &Server{Turns: []Turn{Run("touch proof"), Say("All done.")}}
				code, got := post(t, s, path, first)
				if code != 200 || !strings.Contains(got, c.call) || !strings.Contains(got, "touch proof") || strings.Contains(got, "All done.") {
					t.Errorf("first: %d %s", code, got)
				}
				code, got = post(t, s, path, second)
				if code != 200 || strings.Contains(got, "touch proof") || !strings.Contains(got, "All done.") {
					t.Errorf("second: %d %s", code, got)
				}
				if stream != strings.Contains(got, "data: {") {
					t.Errorf("streamed is %v: %s", stream, got)
				}
			})
		}
	}
}

func TestTurnsChooseTheToolThatTheClientHas(t *testing.T) {
	for _, c := range []struct {
		name  string
		turn  Turn
		tools []string
		want  string // "" is a text
		args  string
	}{
		{"writing with Claude Code", Write("/w/a", "x"), []string{"Bash", "Write"}, "Write", `{"content":"x","file_path":"/w/a"}`},
		{"writing with OpenCode", Write("/w/a", "x"), []string{"bash", "write"}, "write", `{"content":"x","filePath":"/w/a"}`},
		{"writing with only a shell", Write("/w/a b", "it's"), []string{"exec_command"}, "exec_command", `{"cmd":"printf %s 'it'\\''s' \u003e '/w/a b'"}`},
		{"editing", Edit("/w/a", "x", "y"), []string{"Edit"}, "Edit", `{"file_path":"/w/a","new_string":"y","old_string":"x"}`},
		{"editing where that is not offered", Edit("/w/a", "x", "y"), []string{"exec_command"}, "", ""},
		{"reading with only a shell", Read("/w/a"), []string{"shell"}, "shell", `{"command":["bash","-lc","cat '/w/a'"]}`},
		{"a request without tools", Run("true"), nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			call, say := (&Server{Turns: []Turn{c.turn}}).answer(c.tools, 0)
			if c.want == "" {
				if call != nil || say == "" {
					t.Errorf("got %+v, %q", call, say)
				}
				return
			}
			if call == nil || call.tool != c.want || encode(call.args) != c.args {
				t.Errorf("got %+v, want %s %s", call, c.want, c.args)
			}
		})
	}
}

func TestServerWantsItsKeyAndRemembersRequests(t *testing.T) {
	s := &Server{Key: "k", Turns: []Turn{Say("hello")}}
	if code, got := post(t, s, "/v1/messages", `{}`); code != 401 || !strings.Contains(got, "authentication_error") {
		t.Errorf("without a key: %d %s", code, got)
	}
	if code, got := post(t, s, "/v1/messages", `{"tools":[{"name":"x"}]}`, "X-Api-Key", "k"); code != 200 || !strings.Contains(got, "hello") {
		t.Errorf("with it: %d %s", code, got)
	}
	if code, _ := post(t, s, "/v1/messages", `no JSON`, "Authorization", "Bearer k"); code != 400 {
		t.Errorf("no JSON: %d", code)
	}
	if code, _ := post(t, s, "/else", ``, "Authorization", "Bearer k"); code != 404 {
		t.Errorf("another path: %d", code)
	}
	var paths []string
	for _, r := range s.Requests() {
		paths = append(paths, r.Method+" "+r.Path)
	}
	if want := []string{"POST /v1/messages", "POST /v1/messages", "POST /v1/messages", "POST /else"}; !slices.Equal(paths, want) {
		t.Errorf("got %q", paths)
	}
	if r := s.Requests()[1]; r.Header.Get("X-Api-Key") != "k" || !json.Valid(r.Body) {
		t.Errorf("got %+v", r)
	}
}
