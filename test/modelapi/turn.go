package modelapi

import (
	"fmt"
	"slices"
)

// Turn is one answer: a tool call if the client offers a tool for it, else a text.
type Turn struct {
	// calls are the ways to say it, best first: the first whose tool is offered is taken.
	calls []call
	text  string
}

type call struct {
	tool string
	args object
}

// Say answers with text, which ends the conversation.
func Say(text string) Turn { return Turn{text: text} }

// Run calls the client's shell tool.
func Run(command string) Turn {
	described := object{"command": command, "description": "Run a command of the test"}
	return Turn{text: "I will run a command.", calls: []call{
		{"Bash", described},
		{"bash", described},
		{"run_shell_command", described},
		{"exec_command", object{"cmd": command}},
		{"shell_command", object{"command": command}},
		{"shell", object{"command": []string{"bash", "-lc", command}}},
	}}
}

// Read calls the client's tool that reads a file; agents want that before an Edit.
func Read(path string) Turn {
	return withShell(Turn{text: "I will read a file.", calls: []call{
		{"Read", object{"file_path": path}},
		{"read", object{"filePath": path}},
		{"read_file", object{"file_path": path}},
	}}, "cat "+quote(path))
}

// Write calls the client's tool that writes a whole file, or its shell where it has none.
func Write(path, content string) Turn {
	return withShell(Turn{text: "I will write a file.", calls: []call{
		{"Write", object{"file_path": path, "content": content}},
		{"write", object{"filePath": path, "content": content}},
		{"write_file", object{"file_path": path, "content": content}},
	}}, fmt.Sprintf("printf %%s %s > %s", quote(content), quote(path)))
}

// Edit calls the client's tool that replaces one occurrence of before in a file. There is no shell form:
// a client without such a tool gets a text.
func Edit(path, before, after string) Turn {
	return Turn{text: "I would edit a file.", calls: []call{
		{"Edit", object{"file_path": path, "old_string": before, "new_string": after}},
		{"edit", object{"filePath": path, "oldString": before, "newString": after}},
		{"replace", object{"file_path": path, "old_string": before, "new_string": after, "instruction": "Replace it."}},
	}}
}

func withShell(t Turn, command string) Turn {
	t.calls = append(t.calls, Run(command).calls...)
	return t
}

// answer chooses what to say after done tool results to a client that offers tools. A nil call means text.
func (s *Server) answer(tools []string, done int) (*call, string) {
	switch {
	case len(tools) == 0:
		return nil, "Test title"
	case done >= len(s.Turns):
		return nil, "Done."
	}
	turn := s.Turns[done]
	for _, c := range turn.calls {
		if slices.Contains(tools, c.tool) {
			return &c, turn.text
		}
	}
	return nil, turn.text
}

// offered lists the names of the tools in a request of any of the interfaces.
func offered(body object) []string {
	var names []string
	for _, t := range list(body["tools"]) {
		tool := fields(t)
		for _, named := range append([]any{tool, tool["function"]}, list(tool["functionDeclarations"])...) {
			if name := text(fields(named)["name"]); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}
