// Package guestproto is the language between the host and the guest agent: SSH (RFC 4254) on a private
// stream, with requests of our own for what plain SSH cannot say. It holds the shared types and the host's
// client. It does not know backends, policy or files on the host; everything that the guest says is
// hostile input here and is only ever shown or counted, never acted upon.
package guestproto

// Names of our SSH channel type and requests. A stream serves plain SSH too: OpenSSH's pty-req, env,
// shell, exec, window-change and signal work on ordinary "session" channels.
const (
	// ChannelRun carries one command. Its extra data is a JSON Command; the guest rejects the channel,
	// with a message for the user, when it cannot start. Then, as on a "session" channel: data is stdin
	// and stdout, extended data 1 is stderr, "window-change" and "signal" go in, "exit-status" and
	// "exit-signal" come out.
	ChannelRun = "run@bailey"
	// ChannelAttach joins a named session; its extra data is a JSON Attach, the rest is as above.
	ChannelAttach = "attach@bailey"
	// RequestSessions is a global request; the reply's payload is a JSON []Session.
	RequestSessions = "sessions@bailey"
	// RequestKill is a global request with a JSON Kill; it reports false when there is no such session.
	RequestKill = "kill@bailey"
	// RequestPause is a global request with a JSON Pause: everything that runs stops, or goes on. It reports false where
	// the guest is not the machine's first process.
	RequestPause = "pause@bailey"
	// RequestEOF is a channel request, with a reply, that precedes SSH's EOF. The guest needs it because
	// to it the end of a client looks like the end of the client's input, and a session's stdin must
	// outlive the one but not the other.
	RequestEOF = "eof@bailey"
)

// RejectStart is the first of the private reasons (RFC 4254, section 5.1) with which the guest rejects a
// ChannelRun: added to it is the exit code that a shell would give, 127 for a command that is not there
// and 126 for one that cannot be executed.
const RejectStart = 0xFE000000

// MaxCommand bounds the JSON of a Command in bytes, because an SSH packet cannot carry more than 256 KiB.
const MaxCommand = 250 << 10

// Command is what to run. The guest starts it with its own base environment and the sandbox's user.
type Command struct {
	Argv []string `json:"argv"`
	Env  []string `json:"env,omitempty"`  // KEY=VALUE, added to the base environment
	Dir  string   `json:"dir,omitempty"`  // "" is the base working directory
	User string   `json:"user,omitempty"` // "", a name from /etc/passwd or a uid, optionally ":gid"

	TTY  bool   `json:"tty,omitempty"`
	Term string `json:"term,omitempty"` // $TERM with TTY
	Rows int    `json:"rows,omitempty"`
	Cols int    `json:"cols,omitempty"`

	// Stdin says whether the client will send input; without it the command reads /dev/null.
	Stdin bool `json:"stdin,omitempty"`
	// Session, when set, makes the command a named session: it outlives its clients, keeps its last
	// output for them, and can be attached again. The name must be free. Without it the command is hung
	// up and then killed when its client goes.
	Session string `json:"session,omitempty"`
	// Detach starts a session and closes the channel at once, without output.
	Detach bool `json:"detach,omitempty"`
}

// Attach joins a session: its kept output is replayed first, then it follows live. With a tty the
// screen is then redrawn by a change of its size.
type Attach struct {
	Session string `json:"session"`
	Rows    int    `json:"rows,omitempty"`
	Cols    int    `json:"cols,omitempty"`
	// Stdin says whether this client may type. Without it the client only watches (logs -f).
	Stdin bool `json:"stdin,omitempty"`
}

// Session is a named session as the guest tells it.
type Session struct {
	Name    string   `json:"name"`
	Argv    []string `json:"argv"`
	TTY     bool     `json:"tty"`
	PID     int      `json:"pid"`
	Clients int      `json:"clients"`
	Running bool     `json:"running"`
	Exit    Exit     `json:"exit"` // meaningful when not Running
}

// Kill sends Signal (a name without SIG, such as "TERM") to every process of a session.
type Kill struct {
	Session string `json:"session"`
	Signal  string `json:"signal"`
}

// Exit is how a command ended.
type Exit struct {
	Code   int    `json:"code"`             // 128+n when a signal ended it
	Signal string `json:"signal,omitempty"` // name without SIG
}

// Pause is the payload of RequestPause.
type Pause struct {
	Stop bool `json:"stop"` // false: go on
}
