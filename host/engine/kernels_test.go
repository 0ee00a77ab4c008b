package engine

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// TestKernelsAgree compares the module's kernels and the native ones with plain Go where they cut their work: every width to 130, and rows,
// outputs and columns on both sides of a block.
func TestKernelsAgree(t *testing.T) {
	wasm, err := Wasm(t.Context(), WasmOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer wasm.Close(t.Context())
	shapes := [][3]int{ // columns, components, rows
		{257, 16, 31}, {512, 17, 32}, {513, 15, 33}, {1024, 1023, 3}, {1025, 1024, 2}, {1030, 1025, 1}, {300, 40, 65},
	}
	for d := 1; d <= 130; d++ {
		shapes = append(shapes, [3]int{d, 1 + d*7%d, 1 + d%5})
	}
	all := append(Natives(Options{}), wasm)
	slices.Reverse(all[:len(all)-1]) // plain Go first
	var instances []Instance
	for _, e := range all {
		instances = append(instances, open(t, e))
	}
	r := rand.New(rand.NewPCG(8, 8))
	for _, shape := range shapes {
		d, k, n := shape[0], shape[1], shape[2]
		p := &pca.Projection{Models: []pca.Model{{Name: "a", Width: d, Weight: 1}}, Normalize: true, Center: true, PCA: "components=" + strconv.Itoa(k), FitOn: "docs",
			Rows: 9, Mean: random(r, d), Components: random(r, d*k), Variances: make([]float64, k), TotalVariance: 2, CapturedVariance: 1}
		file, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		halves := make([]byte, 2*n*d)
		for i := range halves {
			halves[i] = byte(r.IntN(0x78)) // the largest exponent, and infinities with it, are left out
		}
		documents := marshal(t, nil, safetensors.Tensor{Name: "documents/a", DType: safetensors.F16, Shape: []int{n, d}, Data: halves})
		projected := safetensors.OfFloat32("documents", random(r, n*k), n, k)
		q := shape[2] * 40 // up to 2,600
		begin := marshal(t, map[string]string{"rule": "topk", "top": "3", "counts": "true"}, safetensors.OfFloat32("queries", random(r, q*k), q, k),
			safetensors.OfFloat32("positives", random(r, k), 1, k), indices("pair_query", q, 1), indices("pair_positive", q, 0))
		var want []byte
		for e, i := range instances {
			must(t, i, abi.OpLoadProjection, file)
			got := must(t, i, abi.OpTransform, documents)
			must(t, i, abi.OpBegin, begin)
			must(t, i, abi.OpPush, marshal(t, nil, projected))
			got = append(got, must(t, i, abi.OpFinish, nil)...)
			if e == 0 {
				want = got
			} else if !bytes.Equal(got, want) {
				t.Errorf("%d columns, %d components, %d rows: %s gives other answers than %s", d, k, n, all[e].Name(), all[0].Name())
			}
		}
	}
	names := []string{kernel.Plain.Name()}
	for _, n := range slices.Backward(kernel.Natives()) {
		names = append(names, n.Name())
	}
	for e, name := range append(names, "wasm simd128") {
		if about := must(t, instances[e], abi.OpInfo, nil); !bytes.Contains(about, []byte(`"`+name+`"`)) {
			t.Errorf("%s does not run the kernel %s: %s", all[e].Name(), name, about)
		}
	}
}

// indices is n values that ascend by step.
func indices(name string, n int, step int64) safetensors.Tensor {
	v := make([]int64, n)
	for i := range v {
		v[i] = int64(i) * step
	}
	return safetensors.OfInt64(name, v, n)
}
