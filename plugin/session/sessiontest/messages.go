package sessiontest

import (
	"math/rand/v2"
	"slices"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Known is a sequence of calls that go through, from reset to finish, with a projection of two models.
var Known = []Step{
	{abi.OpReset, marshal(map[string]string{abi.OptionMemoryLimit: "1073741824"})},
	{abi.OpLoadProjection, projection},
	{abi.OpBegin, begin(nil)},
	{abi.OpPush, push("0", 11)},
	{abi.OpFinish, nil},
}

// message is a message that an operation accepts in some states.
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
	{abi.OpTransform, marshal(nil, raw(abi.TensorDocuments, 11)...)},
	{abi.OpSelect, marshal(map[string]string{abi.OptionCounts: "true"}, slices.Concat(pairs(), raw(abi.TensorDocuments, 11))...)},
	{abi.OpLoadProjection, withoutPCA},
	{abi.OpBegin, begin(map[string]string{abi.OptionRule: "topk", abi.OptionTop: "2", abi.OptionCounts: "true"})},
	{abi.OpBegin, begin(map[string]string{abi.OptionZero: "skip", abi.OptionRule: "window", abi.OptionFloor: "0.5 -0.3", abi.OptionCap: "1 0.4", abi.OptionEq6: "true"})},
	{abi.OpBegin, marshal(map[string]string{abi.OptionRule: "perc"}, slices.Concat(projectedPairs(), indices())...)},
	{abi.OpPush, push("11", 3)},
	{abi.OpPush, push("5", 2)},
	{abi.OpPush, marshal(map[string]string{abi.OptionFirst: "100"}, zeroes())},
	{abi.OpPush, marshal(map[string]string{abi.OptionFirst: "20"}, projected(abi.TensorDocuments, 6))},
	{abi.OpSelect, marshal(map[string]string{abi.OptionRule: "topk", abi.OptionFirst: "7"}, slices.Concat(projectedPairs(), indices(), []safetensors.Tensor{projected(abi.TensorDocuments, 40)})...)},
	{abi.OpTransform, marshal(map[string]string{abi.OptionZero: "skip"}, raw(abi.TensorDocuments, 2)...)},
	{abi.OpReset, marshal(map[string]string{abi.OptionMemoryLimit: "3000000"})},
	{abi.OpReset, marshal(map[string]string{abi.OptionMemoryLimit: "1073741824"})},
	{abi.OpInfo, []byte{0}},
	{abi.OpPush, push("3", 0)},
	{abi.OpTransform, marshal(nil, raw(abi.TensorDocuments, 0)...)},
	{abi.OpSelect, marshal(nil, slices.Concat(projectedPairs(), indices(), []safetensors.Tensor{projected(abi.TensorDocuments, 0)})...)},
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
	return []safetensors.Tensor{safetensors.OfFloat32(abi.RawTensor(kind, "a"), random(uint64(100+len(kind)), 5*n), n, 5), safetensors.OfFloat64(abi.RawTensor(kind, "b"), doubles, n, 3)}
}

func projected(kind string, n int) safetensors.Tensor {
	return safetensors.OfFloat32(kind, random(uint64(200+len(kind)), 4*n), n, 4)
}

// zeroes is three projected documents, the middle one zero.
func zeroes() safetensors.Tensor {
	return safetensors.OfFloat32(abi.TensorDocuments, []float32{1, 2, 3, 4, 0, 0, 0, 0, 1, -1, 1, -1}, 3, 4)
}

// indices are for 3 queries and 2 positives: pairs, excluded documents, and a query whose positives go together.
func indices() []safetensors.Tensor {
	of := func(name string, v ...int64) safetensors.Tensor { return safetensors.OfInt64(name, v, len(v)) }
	return []safetensors.Tensor{
		of(abi.TensorPairQuery, 0, 1, 2, 0), of(abi.TensorPairPositive, 0, 1, 1, 1), of(abi.TensorExcludeOffsets, 0, 1, 1, 3), of(abi.TensorExclude, 4, 9, 2),
		of(abi.TensorTogetherOffsets, 0, 2, 2, 2), of(abi.TensorTogether, 0, 1),
	}
}

func pairs() []safetensors.Tensor {
	return slices.Concat(raw(abi.TensorQueries, 3), raw(abi.TensorPositives, 2), indices())
}

func projectedPairs() []safetensors.Tensor {
	return []safetensors.Tensor{projected(abi.TensorQueries, 3), projected(abi.TensorPositives, 2)}
}

func begin(options map[string]string) []byte { return marshal(options, pairs()...) }

func push(first string, n int) []byte {
	return marshal(map[string]string{abi.OptionFirst: first}, raw(abi.TensorDocuments, n)...)
}

// Probes are calls whose answers depend on what an instance holds. The last of them changes it.
var Probes = []Step{
	{abi.OpTransform, messages[7].bytes},
	{abi.OpSelect, messages[8].bytes},
	{abi.OpFinish, nil},
}
