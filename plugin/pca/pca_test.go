package pca

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// twoModels is a projection of two models, 300 and 7 wide, to five components.
func twoModels(r *rand.Rand) *Projection {
	p := &Projection{Models: []Model{{"a", 300, 1}, {"b", 7, 0.5}}, Normalize: true, Center: true, PCA: "components=5", FitOn: "docs", Rows: 10,
		TotalVariance: 2, CapturedVariance: 1.5, DataSHA256: "x", Seed: 1 << 63}
	p.Mean, p.Components = make([]float32, 307), make([]float32, 5*307)
	for i := range p.Components {
		p.Components[i] = float32(r.NormFloat64())
	}
	for i := range p.Mean {
		p.Mean[i] = float32(r.NormFloat64() / 10)
	}
	p.Variances = []float64{5, 4, 3, 2, 1}
	return p
}

// canonical is docs/ABI.md's Fuse and Project of one row, one value at a time.
func canonical(p *Projection, models ...[]float64) []float32 {
	var u []float32
	for m, model := range p.Models {
		x := make([]float32, model.Width)
		for i, v := range models[m] {
			x[i] = float32(v)
		}
		norm := 1.0
		if p.Normalize {
			norm = kernel.Norm(kernel.Plain, x)
		}
		for _, v := range x {
			u = append(u, float32(float64(v)*(model.Weight/norm)))
		}
	}
	if p.PCA == noPCA {
		return u
	}
	y := make([]float32, p.Width())
	for j := range y {
		total := 0.0
		for block := 0; block < len(u); block += 256 {
			s := float32(0)
			for i := block; i < min(block+256, len(u)); i++ {
				c := u[i] - p.Mean[i]
				product := float32(c * p.Components[j*len(u)+i])
				s += product
			}
			total += float64(s)
		}
		y[j] = float32(total)
	}
	return y
}

func f64Raw(rows ...[]float64) Raw {
	var b []byte
	for _, row := range rows {
		for _, v := range row {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	return Raw{safetensors.F64, b}
}

func name(model string) string { return "documents/" + model }

func TestTransformFollowsTheArithmetic(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, change := range []func(*Projection){
		func(*Projection) {},
		func(p *Projection) { p.Normalize = false },
		func(p *Projection) { p.PCA, p.Mean, p.Components, p.Variances = noPCA, nil, nil, nil },
	} {
		p := twoModels(r)
		change(p)
		var a, b [][]float64
		for range 5 {
			x, y := make([]float64, 300), make([]float64, 7)
			for i := range x {
				x[i] = r.NormFloat64()
			}
			for i := range y {
				y[i] = r.NormFloat64() * 1e-3
			}
			a, b = append(a, x), append(b, y)
		}
		dst := make([]float32, 5*p.Width())
		if err := NewTransformer(p, kernel.Plain).Transform(dst, []Raw{f64Raw(a...), f64Raw(b...)}, 5, ZeroError, name); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if want := canonical(p, a[i], b[i]); !slices.Equal(dst[i*p.Width():(i+1)*p.Width()], want) {
				t.Errorf("row %d: got %v, expected %v", i, dst[i*p.Width():(i+1)*p.Width()], want)
			}
		}
	}
}

func TestTransformRefusesRows(t *testing.T) {
	p := &Projection{Models: []Model{{"a", 2, 1}, {"b", 1, 1e30}}, PCA: noPCA, Normalize: true}
	good, one := []float64{3, 4}, []float64{1}
	for what, row := range map[string]struct {
		a, b   []float64
		code   abi.Code
		tensor string
	}{
		"NaN":                   {[]float64{1, math.NaN()}, one, abi.NonFinite, "documents/a"},
		"infinity":              {good, []float64{math.Inf(-1)}, abi.NonFinite, "documents/b"},
		"too large for float32": {[]float64{1e39, 1}, one, abi.NonFinite, "documents/a"},
		"zero":                  {good, []float64{0}, abi.ZeroVector, "documents/b"},
		"zero when rounded":     {[]float64{1e-60, -1e-60}, one, abi.ZeroVector, "documents/a"},
	} {
		dst := make([]float32, 2*3)
		err := NewTransformer(p, kernel.Plain).Transform(dst, []Raw{f64Raw(good, row.a), f64Raw(one, row.b)}, 2, ZeroError, name)
		e := (*abi.Error)(nil)
		if !errors.As(err, &e) || e.Code != row.code || e.Tensor != row.tensor || e.Row != 1 {
			t.Errorf("%s: got %v, expected %v at %s, row 1", what, err, row.code, row.tensor)
		}
		if row.code != abi.ZeroVector {
			continue
		}
		dst[3] = 1
		if err := NewTransformer(p, kernel.Plain).Transform(dst, []Raw{f64Raw(good, row.a), f64Raw(one, row.b)}, 2, ZeroSkip, name); err != nil || !isZero(dst[3:]) || isZero(dst[:3]) {
			t.Errorf("%s, skipped: got %v, %v", what, dst, err)
		}
	}
	heavy := &Projection{Models: []Model{{"a", 2, 1e39}}, PCA: noPCA}
	if err := NewTransformer(heavy, kernel.Plain).Transform(make([]float32, 2), []Raw{f64Raw(good)}, 1, ZeroError, name); !errors.Is(err, &abi.Error{Code: abi.NonFinite}) {
		t.Errorf("overflow by weight: %v", err)
	}
	mean := &Projection{Models: []Model{{"a", 2, 1}}, PCA: "components=1", Mean: []float32{3, 4}, Components: []float32{1, 0}, Variances: []float64{1}}
	if err := NewTransformer(mean, kernel.Plain).Transform(make([]float32, 1), []Raw{f64Raw(good)}, 1, ZeroError, name); !errors.Is(err, &abi.Error{Code: abi.ZeroVector}) {
		t.Errorf("zero after projection: %v", err)
	}
	mean.Components = []float32{math.MaxFloat32, math.MaxFloat32}
	if err := NewTransformer(mean, kernel.Plain).Transform(make([]float32, 1), []Raw{f64Raw([]float64{30, 40})}, 1, ZeroError, name); !errors.Is(err, &abi.Error{Code: abi.NonFinite}) {
		t.Errorf("overflow in projection: %v", err)
	}
}

func TestProjectionFileRoundTrip(t *testing.T) {
	p := twoModels(rand.New(rand.NewPCG(3, 4)))
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	c, err := again.Marshal()
	if err != nil || !bytes.Equal(b, c) || again.Seed != p.Seed || again.Models[1] != p.Models[1] || !slices.Equal(again.Components, p.Components) {
		t.Errorf("read and written again, the file differs: %v", err)
	}
}

// TestProjectionCutAnywhereIsAnError cuts the file at every byte, and changes every byte of its header.
func TestProjectionCutAnywhereIsAnError(t *testing.T) {
	p := twoModels(rand.New(rand.NewPCG(5, 6)))
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if _, err := Parse(b[:n]); err == nil {
			t.Fatalf("cut at %d: no error", n)
		}
	}
	for n := range 8 + int(binary.LittleEndian.Uint64(b)) {
		changed := bytes.Clone(b)
		changed[n] ^= 0x13
		if q, err := Parse(changed); err == nil {
			if _, err := q.Marshal(); err != nil {
				t.Fatalf("changed at %d: accepted, and cannot be written: %v", n, err)
			}
		}
	}
}

func TestProjectionRefuses(t *testing.T) {
	for what, row := range map[string]struct {
		change func(*Projection)
		code   abi.Code
	}{
		"no models":              {func(p *Projection) { p.Models = nil }, abi.BadMessage},
		"a name twice":           {func(p *Projection) { p.Models[1].Name = "a" }, abi.BadMessage},
		"weight 0":               {func(p *Projection) { p.Models[0].Weight = 0 }, abi.BadMessage},
		"weight NaN":             {func(p *Projection) { p.Models[0].Weight = math.NaN() }, abi.BadMessage},
		"a width of 0":           {func(p *Projection) { p.Models[0].Width = 0 }, abi.BadMessage},
		"a width over the limit": {func(p *Projection) { p.Models[0].Width = abi.MaxColumns + 1 }, abi.Limit},
		"too many models": {func(p *Projection) {
			for i := range abi.MaxModels {
				p.Models = append(p.Models, Model{string(rune('c' + i)), 1, 1})
			}
		}, abi.Limit},
		"a mean that is short": {func(p *Projection) { p.Mean = p.Mean[1:] }, abi.BadMessage},
		"an infinite mean":     {func(p *Projection) { p.Mean[3] = float32(math.Inf(1)) }, abi.NonFinite},
		"a NaN component":      {func(p *Projection) { p.Components[400] = float32(math.NaN()) }, abi.NonFinite},
		"a negative variance":  {func(p *Projection) { p.Variances[4] = -1 }, abi.NonFinite},
		"tensors without PCA":  {func(p *Projection) { p.PCA = noPCA }, abi.BadMessage},
	} {
		p := twoModels(rand.New(rand.NewPCG(7, 8)))
		row.change(p)
		if _, err := p.Marshal(); !errors.Is(err, &abi.Error{Code: row.code}) {
			t.Errorf("%s: got %v, expected %v", what, err, row.code)
		}
	}
}

func FuzzParse(f *testing.F) {
	p := twoModels(rand.New(rand.NewPCG(9, 9)))
	b, err := p.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	p = &Projection{Models: []Model{{"a", 2, 1}}, PCA: noPCA, FitOn: "docs", Rows: math.MaxInt64}
	if b, err = p.Marshal(); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(bytes.Replace(b, []byte(`"rows":"9223372036854775807"`), []byte(`"rows":"9223372036854775808"`), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		again, err := p.Marshal()
		if err != nil {
			t.Fatalf("accepted, and cannot be written: %v", err)
		}
		if q, err := Parse(again); err != nil {
			t.Fatalf("what was accepted is not when written again: %v", err)
		} else if third, _ := q.Marshal(); !bytes.Equal(again, third) {
			t.Fatal("a projection changes when read and written")
		}
		d := p.Columns()
		if d > 1<<12 {
			return
		}
		raw := make([]Raw, len(p.Models))
		for i, m := range p.Models {
			raw[i] = Raw{safetensors.F16, bytes.Repeat([]byte{0, 0x3c}, m.Width)}
		}
		_ = NewTransformer(p, kernel.Plain).Transform(make([]float32, p.Width()), raw, 1, ZeroError, name) // must not panic
	})
}
