package fake_test

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/bailey-sandbox/bailey/internal/backend/fake"
	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/sandbox/sandboxtest"
)

func TestConformance(t *testing.T) {
	defer goleak.VerifyNone(t)
	sandboxtest.Run(t, func(t *testing.T) sandbox.Backend { return fake.New(slog.New(slog.DiscardHandler)) }, sandboxtest.Options{
		Lacks: map[sandboxtest.Ability]string{
			sandboxtest.Files:   "commands see the host's files",
			sandboxtest.Users:   "commands run as the test's user",
			sandboxtest.Network: "commands use the host's network",
			sandboxtest.Usage:   "machines share the test's process",
		},
	})
}
