package agent

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	stallAfter = 60 * time.Second // how long a download may go without a byte
	maxTarball = 1 << 30          // what is longer is cut, and then has the wrong hash
)

// fetch downloads d, unpacks it below dir and verifies it on the way. After an error what is in dir is
// worthless; the caller shows dir to nobody before nil.
func (s Store) fetch(ctx context.Context, d download, dir string) error {
	want, err := sha512Of(d.integrity)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallAfter, func() { cancel(fmt.Errorf("no data for %v", stallAfter)) })
	defer stall.Stop()
	body, size, err := s.get(ctx, d.url, "application/octet-stream")
	if err != nil {
		return fmt.Errorf("cannot download: %w", err)
	}
	defer body.Close()

	sum := sha512.New()
	watched := &watch{r: io.LimitReader(body, maxTarball), seen: func(done int64) {
		stall.Reset(stallAfter)
		if s.Progress != nil {
			s.Progress(done, size)
		}
	}}
	raw := io.TeeReader(watched, sum)
	unpacked := gunzipTo(raw, dir)
	// The hash is over all of it, also what follows the archive's end or its first error. It is the better
	// explanation of a damaged archive, so it is judged first.
	io.Copy(io.Discard, raw)
	if watched.err != nil {
		if cause := context.Cause(ctx); cause != nil {
			watched.err = cause
		}
		return fmt.Errorf("cannot download: %w", unreachable(d.url, watched.err))
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return fmt.Errorf("the download from %s does not have the hash that the registry promises; nothing was installed", d.url.Host)
	}
	return unpacked
}

func gunzipTo(r io.Reader, dir string) error {
	zr, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("cannot unpack: %w", err)
	}
	if err := unpack(zr, dir, packageLimits()); err != nil {
		return fmt.Errorf("cannot unpack: %w", err)
	}
	return nil
}

// sha512Of reads the sha512 out of a Subresource Integrity string. Weaker hashes do not count.
func sha512Of(integrity string) ([]byte, error) {
	for word := range strings.FieldsSeq(integrity) {
		if encoded, ok := strings.CutPrefix(word, "sha512-"); ok {
			sum, err := base64.StdEncoding.DecodeString(encoded)
			if err == nil && len(sum) == sha512.Size {
				return sum, nil
			}
		}
	}
	return nil, errors.New("the registry gives no sha512 for the package; nothing was downloaded")
}

// watch reports how much was read, and keeps the error that is not the end.
type watch struct {
	r    io.Reader
	n    int64
	err  error
	seen func(done int64)
}

func (w *watch) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	w.seen(w.n)
	return n, err
}
