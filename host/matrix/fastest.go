package matrix

import (
	"context"

	"github.com/quarry-hn/quarry/host/internal/compiler"
	"github.com/quarry-hn/quarry/plugin/kernel"
)

var _ New = Fastest

// Fastest makes a machine with the fastest products here: native ones where the processor has a kernel in assembly, else
// those of Wasm, and those of Plain where wazero has no compiler. All give the same bits.
func Fastest(ctx context.Context, bytes, lanes int) (*Machine, error) {
	if natives := kernel.Natives(); len(natives) > 0 {
		return Native(natives[0])(ctx, bytes, lanes)
	}
	if compiler.Here() {
		return Wasm(ctx, bytes, lanes)
	}
	return Plain(ctx, bytes, lanes)
}
