package kernel_test

import (
	"testing"

	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/kernel/kerneltest"
)

// TestSIMD runs where TestSIMDOnWazero has it run.
func TestSIMD(t *testing.T) { kerneltest.Run(t, kernel.NewSIMD()) }
