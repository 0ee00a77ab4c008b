package sessiontest

import (
	"math/rand/v2"
	"slices"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Known is a sequence that is right, from reset to finish, with a projection of two models.
var Known = []Step{
	{abi.OpReset, marshal(map[string]string{"memory_limit": "1073741824"})},
	{abi.OpLoadProjection, projection},
	{abi.OpBegin, begin(nil)},
	{abi.OpPush, push("0", 11)},
	{abi.OpFinish, nil},
}

// message is a message that is right for an operation, in some states.
type message struct {
	op    abi.Op
	bytes []byte
}

var projection, withoutPCA = projections()

// messages are what programs choose from.
var messages = []message{
	{abi.OpLoadProjection, projection},
	{abi.OpBegin, begin(nil)},
	{abi.OpPush, push("0", 11)},
	{abi.OpFinish, nil},
	{abi.OpReset, nil},
	{abi.OpInfo, nil},
	{abi.OpMerge, nil}, // of the program's parts
	{abi.OpTransform, marshal(nil, raw("documents", 11)...)},
	{abi.OpSelect, marshal(map[string]string{"counts": "true"}, slices.Concat(pairs(), raw("documents", 11))...)},
	{abi.OpLoadProjection, withoutPCA},
	{abi.OpBegin, begin(map[string]string{"rule": "topk", "top": "2", "counts": "true"})},
	{abi.OpBegin, begin(map[string]string{"zero": "skip", "rule": "window", "floor": "0.5 -0.3", "cap": "1 0.4", "eq6": "true"})},
	{abi.OpBegin, marshal(map[string]string{"rule": "perc"}, slices.Concat(projectedPairs(), indices())...)},
	{abi.OpPush, push("11", 3)},
	{abi.OpPush, push("5", 2)},
	{abi.OpPush, marshal(map[string]string{"first": "100"}, zeroes())},
	{abi.OpPush, marshal(map[string]string{"first": "20"}, projected("documents", 6))},
	{abi.OpSelect, marshal(map[string]string{"rule": "topk", "first": "7"}, slices.Concat(projectedPairs(), indices(), []safetensors.Tensor{projected("documents", 40)})...)},
	{abi.OpTransform, marshal(map[string]string{"zero": "skip"}, raw("documents", 2)...)},
	{abi.OpReset, marshal(map[string]string{"memory_limit": "3000000"})},
	{abi.OpReset, marshal(map[string]string{"memory_limit": "1073741824"})},
	{abi.OpInfo, []byte{0}},
}

func marshal(options map[string]string, tensors ...safetensors.Tensor) []byte {
	b, err := safetensors.Marshal(tensors, options)
	if err != nil {
		panic(err)
	}
	return b
}

// random gives n values that depend on seed.
func random(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// projections are of models a (5 wide) and b (3): one to 4 components, one without PCA.
func projections() (with, without []byte) {
	p := &pca.Projection{Models: []pca.Model{{Name: "a", Width: 5, Weight: 1}, {Name: "b", Width: 3, Weight: 0.5}}, Normalize: true, Center: true, PCA: "components=4",
		FitOn: "docs", Rows: 9, Mean: random(1, 8), Components: random(2, 32), Variances: []float64{4, 3, 2, 1}, TotalVariance: 12, CapturedVariance: 10}
	var err error
	if with, err = p.Marshal(); err != nil {
		panic(err)
	}
	p.Mean, p.Components, p.Variances, p.PCA, p.Normalize = nil, nil, nil, "none", false
	if without, err = p.Marshal(); err != nil {
		panic(err)
	}
	return with, without
}

func raw(kind string, n int) []safetensors.Tensor {
	doubles := make([]float64, 3*n)
	for i, v := range random(uint64(len(kind)), 3*n) {
		doubles[i] = float64(v)
	}
	return []safetensors.Tensor{safetensors.OfFloat32(kind+"/a", random(uint64(100+len(kind)), 5*n), n, 5), safetensors.OfFloat64(kind+"/b", doubles, n, 3)}
}

func projected(kind string, n int) safetensors.Tensor {
	return safetensors.OfFloat32(kind, random(uint64(200+len(kind)), 4*n), n, 4)
}

// zeroes is three projected documents, the middle one zero.
func zeroes() safetensors.Tensor {
	return safetensors.OfFloat32("documents", []float32{1, 2, 3, 4, 0, 0, 0, 0, 1, -1, 1, -1}, 3, 4)
}

// indices are of 3 queries and 2 positives: pairs, exclusions, and a query whose positives go together.
func indices() []safetensors.Tensor {
	of := func(name string, v ...int64) safetensors.Tensor { return safetensors.OfInt64(name, v, len(v)) }
	return []safetensors.Tensor{
		of("pair_query", 0, 1, 2, 0), of("pair_positive", 0, 1, 1, 1), of("exclude_offsets", 0, 1, 1, 3), of("exclude", 4, 9, 2),
		of("together_offsets", 0, 2, 2, 2), of("together", 0, 1),
	}
}

func pairs() []safetensors.Tensor {
	return slices.Concat(raw("queries", 3), raw("positives", 2), indices())
}

func projectedPairs() []safetensors.Tensor {
	return []safetensors.Tensor{projected("queries", 3), projected("positives", 2)}
}

func begin(options map[string]string) []byte { return marshal(options, pairs()...) }

func push(first string, n int) []byte {
	return marshal(map[string]string{"first": first}, raw("documents", n)...)
}

// Probes are calls whose answers tell what an instance holds; the last of them changes it.
var Probes = []Step{
	{abi.OpTransform, messages[7].bytes},
	{abi.OpSelect, messages[8].bytes},
	{abi.OpFinish, nil},
}
