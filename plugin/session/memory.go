package session

import (
	"strconv"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// This file is the accounting of an instance's memory: what each operation takes, in bytes, as a function of how large
// its input is. The session checks its calls by it, and a host plans by it: Shape.MemoryLimit is the limit with which a
// sequence of calls goes through.

// ProjectionShape is how large a projection is.
type ProjectionShape struct {
	Columns    int  // of all models together
	Components int  // values of a projected vector; without PCA as many as Columns
	PCA        bool // there is a mean and components
}

// ShapeOfProjection is the shape of a projection.
func ShapeOfProjection(p *pca.Projection) ProjectionShape {
	return ProjectionShape{Columns: p.Columns(), Components: p.Width(), PCA: p.HasPCA()}
}

// Held is what load_projection takes and keeps: mean, variances, and components in panels.
func (s ProjectionShape) Held() int64 {
	held := 4*int64(s.Columns) + 8*int64(s.Components)
	if s.PCA {
		held += 4 * int64(kernel.PackedLen(s.Components, s.Columns))
	}
	return held
}

// Fuse is what projecting raw rows takes for a call: the rows fused, and projected.
func (s ProjectionShape) Fuse(rows int) int64 { return 4 * int64(rows) * int64(s.Columns+s.Components) }

// Transform is what transform takes for a call, beside its message: the rows fused and projected, and its answer with
// room for another copy of it.
func (s ProjectionShape) Transform(rows int) int64 {
	layout, _, err := message.LayTransformed(rows, s.Components)
	if err != nil { // the shape is too large for any message
		return 1 << 62
	}
	return s.Fuse(rows) + 2*int64(layout.Size)
}

// PairsShape is how large the pairs of a begin or select message are.
type PairsShape struct {
	Width     int  // values of a projected vector
	Queries   int  // distinct ones
	Positives int  // distinct ones
	Pairs     int  // (query, positive) pairs
	Excluded  int  // documents that are excluded, of all queries together
	Together  int  // positives that go together, of all queries together
	Top       int  // negatives of a pair at most
	Counts    bool // documents in the window and candidates are counted

	// RawQuery and RawPositive are the bytes of a raw row of queries and of positives, in all models; 0 where they are
	// projected.
	RawQuery, RawPositive int
}

// ShapeOfPairs is the shape of a begin message's pairs.
func ShapeOfPairs(b *message.Begin) PairsShape {
	s := PairsShape{Width: b.Queries.Width, Queries: b.Queries.Rows, Positives: b.Positives.Rows, Pairs: len(b.PairQuery),
		Excluded: len(b.Exclude), Together: len(b.Together), Top: b.Options.Top, Counts: b.Options.Counts}
	if b.Queries.Raw != nil {
		s.RawQuery = b.Queries.RowBytes()
	}
	if b.Positives.Raw != nil {
		s.RawPositive = b.Positives.RowBytes()
	}
	return s
}

// Held is what begin takes and keeps: a scanner, and what finish will take, so that finish always has it.
func (s PairsShape) Held() int64 { return s.Scanner() + s.Finish() }

// Scanner is what a scanner of the pairs holds: projected queries and positives, unit queries in 16 bits in rows and in
// panels, a unit positive for each query, the norms of tails at each stop, indices, bounds, and as many negatives as there
// may be.
func (s PairsShape) Scanner() int64 {
	k, q, p, stride := int64(s.Width), int64(s.Queries), int64(s.Positives), mine.Stride(s.Width)
	perPair := 80 + negativeBytes*int64(s.Top)
	if s.Counts {
		perPair += 16
	}
	words := 2*q*int64(stride) + int64(kernel.PackedLen(s.Queries, stride)) + int64(kernel.PackedRows(s.Queries)*mine.Stops(s.Width))
	return 4*k*(q+p) + 4*words + 8*int64(s.Excluded+s.Together) + 96*q + 16*p + int64(s.Pairs)*perPair
}

// Finish is what finish takes beside the scanner: the part's bytes.
func (s PairsShape) Finish() int64 { return int64(s.Pairs) * (32 + negativeBytes*int64(s.Top)) }

// negativeBytes is a position and two scores, in memory and in a part.
const negativeBytes = 24

// check is what checking the pairs takes, beside the message: vectors that were raw, projected, and the norms of all.
func (s PairsShape) check(p ProjectionShape) int64 {
	projected := int64(0)
	if s.RawQuery > 0 {
		projected += 4 * int64(s.Width) * int64(s.Queries)
	}
	if s.RawPositive > 0 {
		projected += 4 * int64(s.Width) * int64(s.Positives)
	}
	return s.fuse(p) + projected + 8*int64(s.Queries+s.Positives)
}

// build is what making the scanner takes: what it holds, and what projecting the pairs took.
func (s PairsShape) build(p ProjectionShape) int64 { return s.Held() + s.fuse(p) }

// fuse is what projecting the raw ones of queries and positives takes, one after the other.
func (s PairsShape) fuse(p ProjectionShape) (bytes int64) {
	if s.RawQuery > 0 {
		bytes = p.Fuse(s.Queries)
	}
	if s.RawPositive > 0 {
		bytes = max(bytes, p.Fuse(s.Positives))
	}
	return bytes
}

// Message is the bytes of a begin message, its header apart.
func (s PairsShape) Message() int64 {
	row := func(raw int) int64 {
		if raw > 0 {
			return int64(raw)
		}
		return 4 * int64(s.Width)
	}
	bytes := row(s.RawQuery)*int64(s.Queries) + row(s.RawPositive)*int64(s.Positives) + 16*int64(s.Pairs)
	bytes += 8 * int64(s.Queries+1+s.Excluded)
	if s.Together > 0 {
		bytes += 8 * int64(s.Queries+1+s.Together)
	}
	return bytes
}

// BlockShape is how large the block of documents of a push is, or the rows of a transform.
type BlockShape struct {
	Rows int
	Raw  int // bytes of a raw row, in all models; 0 where the documents are projected
}

// Push is what push takes for a call, beside its message: rows fused and projected, unit vectors and scores of a block,
// and what grows with the rows.
func (s BlockShape) Push(p ProjectionShape, width int) int64 {
	bytes := int64(s.Rows)*(4*int64(width)+32) + 2<<20
	if s.Raw > 0 {
		bytes += p.Fuse(s.Rows)
	}
	return bytes
}

// Merge is what merge takes for a call, beside its message of that many bytes. A part takes about as much in memory as
// in the message; at most three are held at once, and the answer.
func Merge(message int64) int64 { return 4 * message }

// Header is what reading a header of that many bytes takes: up to 16 bytes for each of its own. Small headers are in
// the runtime's share, so that reset works where nothing fits.
func Header(bytes int64) int64 {
	const small = 1 << 16
	if bytes <= small {
		return 0
	}
	return 16 * bytes
}

// Shape is how large all is that a session is given: what it takes of memory depends on nothing else.
type Shape struct {
	File       int64 // bytes of the projection file
	Projection ProjectionShape
	Pairs      PairsShape
	Block      BlockShape
	Models     int // models of the projection
}

// HeaderRoom is the room that a shape leaves for the header of a message: names and options of usual length.
func (s Shape) HeaderRoom() int64 { return 4<<10 + 512*int64(s.Models) }

// MemoryLimit is the least memory_limit with which a new session can run these operations in their order. Without
// operations it is that of load_projection, begin, push and finish. A push has one block, and so has select. The
// result is twice what is counted, because a session may use half of its limit; it leaves HeaderRoom for each message.
// Operations that take next to nothing may be left out.
func (s Shape) MemoryLimit(ops ...abi.Op) int64 {
	if len(ops) == 0 {
		ops = []abi.Op{abi.OpLoadProjection, abi.OpBegin, abi.OpPush, abi.OpFinish}
	}
	var b budget
	most := int64(0)
	take := func(need int64) { most = max(most, b.held()+b.message+need) }
	for _, op := range ops {
		b.message = s.HeaderRoom() + s.message(op)
		switch op {
		case abi.OpLoadProjection:
			b.message = s.File
			take(Header(s.File - s.Projection.file()))
			take(s.Projection.Held())
			b.projection, b.pairs = s.Projection.Held(), 0
		case abi.OpTransform:
			take(s.Projection.Transform(s.Block.Rows))
		case abi.OpBegin:
			take(s.Pairs.check(s.Projection))
			b.pairs = 0
			take(s.Pairs.build(s.Projection))
			b.pairs = s.Pairs.Held()
		case abi.OpPush:
			take(s.Block.Push(s.Projection, s.Pairs.Width))
		case abi.OpSelect:
			take(s.Pairs.build(s.Projection))
			take(s.Pairs.Held() + s.Block.Push(s.Projection, s.Pairs.Width))
		case abi.OpReset:
			b = budget{}
		}
	}
	return 2 * most
}

// file is the bytes of a projection file, its header apart.
func (s ProjectionShape) file() int64 {
	if !s.PCA {
		return 0
	}
	return 4*int64(s.Columns)*int64(1+s.Components) + 8*int64(s.Components)
}

// message is the bytes of an operation's message, its header apart.
func (s Shape) message(op abi.Op) int64 {
	row := int64(s.Block.Raw)
	if row == 0 {
		row = 4 * int64(s.Pairs.Width)
	}
	switch op {
	case abi.OpTransform, abi.OpPush:
		return row * int64(s.Block.Rows)
	case abi.OpBegin:
		return s.Pairs.Message()
	case abi.OpSelect:
		return s.Pairs.Message() + row*int64(s.Block.Rows)
	}
	return 0
}

// budget keeps an instance within its memory. What it counts is what the session knows it will hold; the runtime's own
// share (garbage before a collection, fragments, stacks, code) is allowed for by counting no more than half of the
// limit.
type budget struct {
	limit                      int64
	projection, pairs, message int64 // bytes: the first two are kept between calls
}

// held is what is kept between calls.
func (b *budget) held() int64 { return b.projection + b.pairs }

// check fails where need bytes more do not fit.
func (b *budget) check(need int64) error {
	if have := b.held() + b.message; have+need > b.limit/2 {
		return abi.Errorf(abi.Memory, "needs %s more than the %s held; half of the limit of %s may be",
			mib(need), mib(have), mib(b.limit))
	}
	return nil
}

func mib(n int64) string { return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB" }
