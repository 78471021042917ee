//go:build linux

package escape

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// attack is one case. Scripts are sh's and run in the project; they know $PROBE (the program of attacks that a
// shell cannot make), $HX (a file that appears only if the host executed something), $HC (a file of the host's
// that nobody may read, with the word CANARY in it), $HW (a directory of the host's that nobody may change)
// and $TOOLS (where the probe is, read-only inside). Whoever has won prints WON.
type attack struct {
	id, group string

	setup  string   // on the host, before the sandbox starts; makes the case's project its own
	flags  []string // of bailey create; $HW and the like are replaced
	script string   // the attack, inside and in the control
	// witness judges on the host, afterwards. Without it the attack's own WON counts, which is for calls
	// that leave no trace outside.
	witness string
	settle  string // on the host: succeeds when what the guards do is done
	works   string // inside: the ordinary thing beside it, which must succeed

	weak       []string // arguments that make the control's jail like ours, without what is under test
	weaker     string   // the control's attack, where it must be another one
	forbidden  string   // why the kernel refuses an ordinary user this everywhere, the control's weak jail too
	absent     string   // an errno of the control that means that the kernel has no such thing
	documented string   // the known limit, for what is not prevented
	own        func(*trial) verdict
}

// verdict is the outcome of a case.
type verdict struct {
	control string // lost: the attack works where the wall is absent; or held
	ran     bool   // the attack did run inside
	won     bool
	na      string // why the case says nothing here
	broken  string // what did not work beside it
	reason  string
}

// why is the reason to print.
func (v verdict) why() string {
	if v.na != "" {
		return v.na
	}
	return v.broken + v.reason
}

// result is the word for it.
func (v verdict) result(a attack) string {
	switch {
	case v.na != "":
		return "n/a"
	case !v.ran, v.broken != "":
		return "fail"
	case v.won && a.documented != "":
		return "documented"
	case v.won || a.documented != "":
		return "fail"
	case v.control == "held" && !strings.HasPrefix(v.reason, "the kernel itself"):
		return "fail"
	}
	return "pass"
}

// trial is one case on one backend.
type trial struct {
	attack
	t *testing.T
	w *world
}

// try runs the control, then the attack inside, then what must still work.
func (tr *trial) try() verdict {
	if tr.own != nil {
		return tr.own(tr)
	}
	w, t := tr.w, tr.t
	victim := w.shared
	if tr.setup != "" || len(tr.flags) > 0 {
		victim = w.newProject(t, tr.id, tr.setup)
		w.start(t, victim, tr.flags...)
		defer w.remove(t, victim)
	}
	v := verdict{control: "held"}
	control := w.newProject(t, tr.id+"-control", tr.setup)
	script := tr.script
	if tr.weaker != "" {
		script = tr.weaker
	}
	out := w.jail(t, control, tr.weak, script)
	t.Logf("the control says:\n%s", out)
	controlWon := tr.judge(control, out, false)
	if controlWon {
		v.control = "lost"
	}
	os.Remove(w.marker())

	out = w.inside(t, victim, "echo RAN\n"+tr.script)
	t.Logf("inside it says:\n%s", out)
	v.ran = strings.HasPrefix(out, "RAN\n")
	v.won = tr.judge(victim, out, true)
	os.Remove(w.marker())
	if tr.works != "" {
		if out := w.inside(t, victim, "{ "+tr.works+"\n} && echo WORKS"); !strings.Contains(out, "WORKS\n") {
			v.broken = "what must work beside it does not: " + out
		}
	}
	v.reason = tr.explain(v, out)
	if !controlWon {
		tr.excuse(&v, w)
	}
	return v
}

// judge says whether the attack worked.
func (tr *trial) judge(p *project, out string, guarded bool) bool {
	if tr.witness == "" {
		return strings.Contains(out, "WON")
	}
	if guarded && tr.settle != "" {
		machine.Poll(3*time.Second, func() bool { return tr.w.outside(tr.t, p, tr.settle+"\necho settled $?") == "settled 0\n" })
	}
	out = tr.w.outside(tr.t, p, tr.witness)
	tr.t.Logf("the witness says: %s", out)
	return strings.Contains(out, "WON")
}

// explain is the table's last column.
func (tr *trial) explain(v verdict, out string) string {
	if v.won {
		return tr.documented
	}
	for _, line := range strings.Split(out, "\n") {
		if rest, ok := strings.CutPrefix(line, "HELD: "); ok {
			return rest
		}
	}
	return ""
}

// excuse says why a control that held is no fault of the case, if it is none.
func (tr *trial) excuse(v *verdict, w *world) {
	switch {
	case tr.absent != "" && strings.Contains(tr.w.said, tr.absent):
		v.na = "this kernel has none (" + tr.absent + ")"
	case tr.forbidden != "" && !w.root:
		v.reason = "the kernel itself refuses it without " + tr.forbidden + ", in every user namespace"
	default:
		v.reason = "the control held: the case proves nothing"
	}
}

// jail runs a script in the weak set-up: bubblewrap that shows the whole host, with every right that the user can
// have and without any filter.
func (w *world) jail(t *testing.T, p *project, extra []string, script string) string {
	t.Helper()
	args := []string{"--dev-bind", "/", "/", "--cap-add", "ALL"}
	if !w.root {
		args = append(args, "--unshare-user")
	}
	for _, a := range extra {
		args = append(args, w.expand(p, a))
	}
	cmd := exec.Command("bwrap", append(args, "--chdir", p.dir, "sh", "-c", w.preamble(p)+script)...)
	w.said = w.output(t, cmd, p)
	return w.said
}

// inside runs a script in the project's sandbox.
func (w *world) inside(t *testing.T, p *project, script string) string {
	t.Helper()
	cmd := exec.Command(w.bailey, "exec", p.box, "sh", "-c", w.preamble(p)+script)
	return w.output(t, cmd, p)
}

// outside runs a script on the host, in the project.
func (w *world) outside(t *testing.T, p *project, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", w.preamble(p)+"cd \"$P\"\n"+script)
	cmd.Dir = w.home // an attack may have shut the project
	return w.output(t, cmd, p)
}

func (w *world) preamble(p *project) string {
	return fmt.Sprintf("exec 2>&1\nP='%s' PROBE='%s/probe' TOOLS='%s' HX='%s' HC='%s' HW='%s'\n", p.dir, w.tools, w.tools, w.marker(), w.canary, w.hostTree)
}

func (w *world) expand(p *project, text string) string {
	return os.Expand(text, func(key string) string {
		return map[string]string{"P": p.dir, "HW": w.hostTree, "HC": w.canary, "HOME": w.home, "TOOLS": w.tools}[key]
	})
}

func (w *world) marker() string { return filepath.Join(w.dir, "EXECUTED") }
