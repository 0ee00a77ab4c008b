package fit

import (
	"context"
	"slices"

	"github.com/quarry-hn/quarry/host/matrix"
)

// The reflections of a block are H_first ... H_{end-1} = 1 - V T V^T, V having a column for each and T being an upper
// triangle (Schreiber and Van Loan, A storage-efficient WY representation, SIAM J. Sci. Stat. Comput. 10, 1989). So Q
// times a matrix is an update of the matrix for each block, from the last on.

// updateFloats is how many values the updates of n rows take.
func updateFloats(n int) int {
	floats := 0
	for first := 0; first < n-1; first += blockReflections {
		floats += 2 * blockReflections * updateStride(n-first-1)
	}
	return floats
}

// updateStride keeps columns of an update from falling into the same few cache lines.
func updateStride(columns int) int { return columns + 16 }

// updates are Q, as what multiplies a matrix with it from the left.
func (t *tridiagonal) updates(ctx context.Context, room *eigenRoom) ([]matrix.Update, error) {
	var updates []matrix.Update
	memory := room.updates
	for first := 0; first < t.n-1; first += blockReflections {
		rows, columns := min(blockReflections, t.n-1-first), t.n-first-1
		take := func() matrix.Rows {
			stride := updateStride(columns)
			of := matrix.Rows{Rows: rows, Columns: columns, Stride: stride, Data: memory[:rows*stride]}
			memory = memory[rows*stride:]
			return of
		}
		updates = append(updates, matrix.Update{First: first + 1, V: take(), U: take()})
	}
	err := room.machine.Each(ctx, len(updates), func(i int) error {
		t.fill(updates[i])
		return nil
	})
	slices.Reverse(updates)
	return updates, err
}

// fill fills in an update: V^T, and U = -(V T)^T.
func (t *tridiagonal) fill(to matrix.Update) {
	first, rows := to.First-1, to.V.Rows
	var triangle [blockReflections][blockReflections]float64
	u := make([]float64, to.V.Columns)
	for j := range rows {
		tau, v := t.tau[first+j], t.row(first+j, first+j+1)
		for i := range j {
			along := tau * dot(t.row(first+i, first+j+1), v)
			for h := range i + 1 {
				triangle[h][j] -= along * triangle[h][i]
			}
		}
		triangle[j][j] = tau
		clear(u)
		for i := range j + 1 {
			axpy(-triangle[i][j], t.row(first+i, first+i+1), u[i:])
		}
		clear(to.V.Row(j)[:j])
		for c, x := range v {
			to.V.Row(j)[j+c] = float32(x)
		}
		for c, x := range u {
			to.U.Row(j)[c] = float32(x)
		}
	}
}
