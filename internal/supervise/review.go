package supervise

import (
	"context"
	"errors"
	"fmt"

	"github.com/bailey-sandbox/bailey/internal/apply"
	"github.com/bailey-sandbox/bailey/internal/review"
	"github.com/bailey-sandbox/bailey/internal/state"
)

// settleReviews finishes what an apply has left halfway, and lets the sandbox see the project's own files where
// nothing is left to review. Nothing runs in it yet.
func settleReviews(ctx context.Context, sb *state.Sandbox) error {
	for _, p := range review.Places(sb) {
		lock, err := p.Lock()
		if err == nil {
			_, err = p.Recover()
			var conflict *apply.ConflictError
			if err == nil || errors.As(err, &conflict) && !errors.Is(err, apply.ErrInterrupted) { // taken back is settled, too
				err = p.Settle(ctx)
			}
			lock.Close()
		}
		if err != nil {
			return fmt.Errorf("cannot settle what was applied to %s: %w", p.Project, err)
		}
	}
	return nil
}
