//go:build !wasip1

package kernel_test

import (
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/kernel/kerneltest"
)

// TestNatives runs every kernel in assembly that this machine has.
func TestNatives(t *testing.T) {
	for _, n := range kernel.Natives() {
		t.Run(n.Name(), func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, n.New())
		})
	}
}
