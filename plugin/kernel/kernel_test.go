package kernel_test

import (
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/kernel/kerneltest"
)

func TestPlain(t *testing.T) {
	t.Parallel()
	kerneltest.Run(t, kernel.Plain)
}
