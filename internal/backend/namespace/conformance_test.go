//go:build linux

package namespace

import (
	"testing"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
	"github.com/bailey-sandbox/bailey/internal/sandbox/sandboxtest"
)

func TestConformance(t *testing.T) {
	sandboxtest.Run(t, func(*testing.T) sandbox.Backend { return newBackend() }, sandboxtest.Options{})
}
