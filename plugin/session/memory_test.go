package session_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
	"github.com/quarry-hn/quarry/plugin/session"
)

// sized is a random shape, and messages of it.
type sized struct {
	session.Shape
	messages map[abi.Op][]byte
}

// values are what messages hold, from any place on.
var values = func() []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, 1<<21)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}()

// What of a shape is large; the rest is small.
const (
	largeProjection = iota
	manyPairs
	largeBlock
	nothingLarge
)

// newSized makes a shape of which that is large, so that now this operation and now that one needs the most.
func newSized(t *testing.T, r *rand.Rand, large int) sized {
	t.Helper()
	upTo := func(of, small, most int) int {
		if large == of {
			return most/2 + r.IntN(most/2)
		}
		return 1 + r.IntN(small)
	}
	floats := func(n int) []float32 {
		at := r.IntN(len(values) - n)
		return values[at : at+n]
	}
	p := &pca.Projection{PCA: "none", FitOn: "docs"}
	for i := range 1 + r.IntN(3) {
		p.Models = append(p.Models, pca.Model{Name: fmt.Sprintf("model-%d", i), Width: upTo(largeProjection, 60, 500), Weight: 1})
	}
	if r.IntN(4) > 0 {
		d := p.Columns()
		k := 1 + r.IntN(min(d, 700))
		p.PCA, p.Mean, p.Components, p.Variances = fmt.Sprintf("components=%d", k), floats(d), floats(k*d), make([]float64, k)
	}
	file, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	projected := func(n int) message.Vectors {
		return message.Vectors{Rows: n, Width: p.Width(), Projected: floats(n * p.Width())}
	}
	raw := func(n int) message.Vectors {
		v := message.Vectors{Rows: n, Width: p.Width()}
		for _, m := range p.Models {
			one := message.Raw{Model: m.Name, Width: m.Width, Raw: pca.Raw{DType: safetensors.F32, Data: safetensors.OfFloat32("", floats(n*m.Width)).Data}}
			switch r.IntN(3) {
			case 0:
				one.DType, one.Data = safetensors.F16, make([]byte, 2*n*m.Width)
				for i := range one.Data {
					one.Data[i] = 0x11
				}
			case 1:
				doubles := make([]float64, n*m.Width)
				for i := range doubles {
					doubles[i] = float64(1 + i%7)
				}
				one.DType, one.Data = safetensors.F64, safetensors.OfFloat64("", doubles).Data
			}
			v.Raw = append(v.Raw, one)
		}
		return v
	}
	either := func(n int) message.Vectors {
		if r.IntN(3) == 0 {
			return raw(n)
		}
		return projected(n)
	}
	q, positives, pairs := upTo(manyPairs, 20, 2000), upTo(manyPairs, 20, 2000), upTo(manyPairs, 30, 2000)
	indices := func(n, limit int) []int64 {
		v := make([]int64, n)
		for i := range v {
			v[i] = int64(r.IntN(limit))
		}
		return v
	}
	lists := func(longest, limit int) (offsets, list []int64) {
		offsets = []int64{0}
		for range q {
			list = append(list, indices(r.IntN(longest+1), limit)...)
			offsets = append(offsets, int64(len(list)))
		}
		return offsets, list
	}
	begin := &message.Begin{Queries: either(q), Positives: either(positives), Indices: mine.Indices{PairQuery: indices(pairs, q), PairPositive: indices(pairs, positives)},
		Options: mine.Options{Rule: mine.Rule{Name: "topk"}, Top: 1 + r.IntN(20), Counts: r.IntN(2) == 0, PairsID: "some pairs"}}
	begin.ExcludeOffsets, begin.Exclude = lists(9, 1000)
	if r.IntN(2) == 0 {
		begin.TogetherOffsets, begin.Together = lists(9, positives)
	}
	n := upTo(largeBlock, 20, 1000)
	documents := either(n)
	for r.IntN(2) == 0 && documents.Raw == nil { // more often raw
		documents = either(n)
	}
	s := sized{messages: map[abi.Op][]byte{abi.OpLoadProjection: file, abi.OpFinish: nil}}
	s.File, s.Models, s.Projection, s.Pairs = int64(len(file)), len(p.Models), session.ShapeOfProjection(p), session.ShapeOfPairs(begin)
	s.Block = session.BlockShape{Rows: n}
	if documents.Raw != nil {
		s.Block.Raw = documents.RowBytes()
		s.add(t, abi.OpTransform, &message.Transform{Documents: documents})
	}
	s.add(t, abi.OpBegin, begin)
	s.add(t, abi.OpPush, &message.Push{Documents: documents})
	s.add(t, abi.OpSelect, &message.Select{Begin: *begin, Push: message.Push{Documents: documents}})
	return s
}

func (s *sized) add(t *testing.T, op abi.Op, m interface {
	Encode() ([]safetensors.Tensor, map[string]string)
}) {
	t.Helper()
	in, err := safetensors.Marshal(m.Encode())
	if err != nil {
		t.Fatal(err)
	}
	s.messages[op] = in
}

// through runs the operations in a new session with that limit, and returns the one that failed.
func (s *sized) through(t *testing.T, limit int64, ops []abi.Op) (abi.Op, error) {
	t.Helper()
	one := session.New(kernel.Plain)
	reset, err := safetensors.Marshal((&message.Reset{MemoryLimit: limit}).Encode())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Call(abi.OpReset, reset); err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		if _, err := one.Call(op, s.messages[op]); err != nil {
			return op, err
		}
		if one.Held() > limit/2 {
			t.Fatalf("%s: %d bytes are held with a limit of %d", op, one.Held(), limit)
		}
	}
	return 0, nil
}

// TestMemoryLimitIsTheLeast gives sessions of random shapes the limit that Shape.MemoryLimit says: they get through.
// With less than that by more than what is left for headers they do not, each operation being the one that needs the
// most in some shapes.
func TestMemoryLimitIsTheLeast(t *testing.T) {
	shapes := 200
	if testing.Short() {
		shapes = 40
	}
	const load, transform, begin, push, finish = abi.OpLoadProjection, abi.OpTransform, abi.OpBegin, abi.OpPush, abi.OpFinish
	refused := map[abi.Op]int{}
	for seed := range uint64(shapes) {
		s := newSized(t, rand.New(rand.NewPCG(seed, 12)), int(seed%4))
		sequences := [][]abi.Op{{load, begin, push, finish}, {load, begin, finish, begin, push, finish, load, begin, push, finish}, {load, abi.OpSelect}}
		if s.messages[transform] != nil {
			sequences = append(sequences, []abi.Op{load, transform, begin, push, finish, transform, begin, push, finish}, []abi.Op{load, transform})
		}
		for i, ops := range sequences {
			limit := s.MemoryLimit(ops...)
			if i == 0 && limit != s.MemoryLimit() {
				t.Fatalf("%d bytes by default, and %d for the same operations", s.MemoryLimit(), limit)
			}
			if op, err := s.through(t, limit, ops); err != nil {
				t.Fatalf("seed %d, %v of %+v: %s with a limit of %d: %v", seed, ops, s.Shape, op, limit, err)
			}
			op, err := s.through(t, limit-2*s.HeaderRoom()-2, ops)
			if !errors.Is(err, &abi.Error{Code: abi.Memory}) {
				t.Fatalf("seed %d, %v of %+v: less than a limit of %d would do: %v", seed, ops, s.Shape, limit, err)
			}
			refused[op]++
		}
	}
	for _, op := range []abi.Op{load, transform, begin, push, abi.OpSelect} {
		if refused[op] < shapes/20 {
			t.Errorf("%s is what needs the most in %d of %d sequences: too few to tell", op, refused[op], shapes)
		}
	}
}

// TestGroupAfterGroup gives a session the limit for one begin: it takes many, and a push and a finish after each.
func TestGroupAfterGroup(t *testing.T) {
	s := newSized(t, rand.New(rand.NewPCG(4, 13)), manyPairs)
	ops := []abi.Op{abi.OpLoadProjection}
	for range 5 {
		ops = append(ops, abi.OpBegin, abi.OpPush, abi.OpFinish)
	}
	if got, want := s.MemoryLimit(ops...), s.MemoryLimit(); got > want+want/10 {
		t.Errorf("five groups take %d bytes, one %d", got, want)
	}
	if op, err := s.through(t, s.MemoryLimit(ops...), ops); err != nil {
		t.Errorf("%s: %v", op, err)
	}
}

// TestWithoutPCANothingIsPacked has a projection without PCA take no memory for components.
func TestWithoutPCANothingIsPacked(t *testing.T) {
	with, without := session.ProjectionShape{Columns: 1000, Components: 1000, PCA: true}, session.ProjectionShape{Columns: 1000, Components: 1000}
	if with.Held() < 4_000_000 || without.Held() > 20_000 {
		t.Errorf("%d bytes with PCA, %d without", with.Held(), without.Held())
	}
}
