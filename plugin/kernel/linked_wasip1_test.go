package kernel_test

import (
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/kernel/kerneltest"
)

// TestLinked runs where TestLinkedOnWazero has it run.
func TestLinked(t *testing.T) { kerneltest.Run(t, kernel.NewLinked()) }
