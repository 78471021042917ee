package egress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/bailey-sandbox/bailey/internal/gitpush"
	"github.com/bailey-sandbox/bailey/internal/policy"
)

const (
	// maxPush is the largest push, in bytes. It is on the disk until it has been judged as a whole.
	maxPush = 1 << 30
	// maxPushes is how many of one sandbox are there at one time.
	maxPushes = 4
)

// pushOf returns the push that r belongs to, nil for other requests.
func pushOf(r *http.Request) *policy.Push {
	p := policy.PushIn(r.URL.EscapedPath(), r.URL.RawQuery)
	if p == nil && strings.Contains(strings.ToLower(r.Header.Get("Content-Type")), "x-git-receive-pack-request") {
		return &policy.Push{} // whatever its path is, somebody may take it for one
	}
	return p
}

// judgePush judges by its refs and its pack a push whose head was allowed. It reads the whole body, which r has again
// when the push is allowed; the caller closes that. The push is nil where it could not be read.
func (h *requests) judgePush(r *http.Request, req policy.Request) (policy.Decision, *gitpush.Push) {
	if h.s.pushes.Add(1) > maxPushes {
		h.s.pushes.Add(-1)
		return policy.Decision{Reason: fmt.Sprintf("the sandbox already has %d pushes under way", maxPushes)}, nil
	}
	body := &spool{done: func() { h.s.pushes.Add(-1) }}
	push, err := body.read(r)
	if err != nil {
		_ = body.Close()
		return policy.Decision{Reason: err.Error()}, nil
	}
	d := h.s.judgeRefs(req, push)
	if d.Verdict != policy.Allow {
		_ = body.Close()
		return d, push
	}
	r.Body, r.ContentLength, r.TransferEncoding = body, body.size, nil
	return d, push
}

// judgeRefs returns the decision about the first ref that is not allowed to change so, or about the last.
func (s *Server) judgeRefs(req policy.Request, push *gitpush.Push) policy.Decision {
	p := s.policy()
	d := p.Decide(req)
	workflows := push.Workflows() // which looks at every tree
	for _, c := range push.Commands {
		req.Push = &policy.Push{Repository: req.Push.Repository, Ref: c.Ref, Rewrites: push.Rewrites(c), Workflows: !c.Deletes() && workflows}
		d = p.Decide(req)
		if d.Verdict != policy.Allow {
			if push.Unclear() && !c.Deletes() {
				d.Reason += ", and what it changes cannot be seen, as it builds on what only the server has: git push --no-thin"
			}
			return d
		}
	}
	return d
}

// spool is a body on the disk, in a file without a name.
type spool struct {
	*os.File
	size int64
	done func()
}

// errSpool says no more, as the reason names the host's directories.
var errSpool = errors.New("bailey cannot keep the push on the host's disk while it is judged")

// read takes a push from r. Errors may be shown inside.
func (b *spool) read(r *http.Request) (*gitpush.Push, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, errors.New("a push that is compressed as a whole cannot be read")
	}
	var err error
	if b.File, err = os.CreateTemp("", "bailey-push-"); err != nil {
		return nil, errSpool
	}
	if err := os.Remove(b.Name()); err != nil {
		return nil, errSpool
	}
	in := bufio.NewReader(io.TeeReader(io.LimitReader(r.Body, maxPush+1), writes{b.File}))
	push, err := gitpush.ReadCommands(in)
	if err == nil {
		err = push.ReadPack(in)
	}
	if b.size, _ = b.Seek(0, io.SeekCurrent); b.size > maxPush {
		return nil, fmt.Errorf("the push has more than %d MiB", maxPush>>20)
	}
	if err != nil {
		return nil, err
	}
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		return nil, errSpool
	}
	return push, nil
}

// Close gives the space back.
func (b *spool) Close() error {
	b.done()
	if b.File == nil {
		return nil
	}
	return b.File.Close()
}

// writes hides why the disk does not take something.
type writes struct{ f *os.File }

func (w writes) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		return n, errSpool
	}
	return n, nil
}

// refusePush answers a push that is not passed on in git's own protocol, whose client shows no page. push is nil while
// only the request's head has been read.
func refusePush(w http.ResponseWriter, r *http.Request, push *gitpush.Push, status int, reason, cure string) {
	lists := r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "service=git-receive-pack")
	if !lists && push == nil {
		writeError(w, r, status, reason, cure)
		return
	}
	answer, media := []byte(nil), gitpush.ResultType
	if lists {
		answer, media = gitpush.Refused(refusalText(reason, cure)), gitpush.AdvertisementType
	} else {
		answer = push.Refusal("bailey: "+reason, refusalText(reason, cure))
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", media)
	_, _ = w.Write(answer)
}

// askForWhole changes the answer that a push begins with, so that what is pushed can be judged.
func askForWhole(r *http.Response) {
	if r.Header.Get("Content-Type") != gitpush.AdvertisementType || r.Header.Get("Content-Encoding") != "" {
		return
	}
	r.Body = gitpush.NoThin(r.Body)
	r.ContentLength = -1
	r.Header.Del("Content-Length")
}
