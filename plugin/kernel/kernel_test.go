package kernel_test

import (
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/kernel/kerneltest"
)

func TestPlain(t *testing.T) { kerneltest.Run(t, kernel.Plain) }
