package host_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"gonum.org/v1/gonum/mat"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/plugin/pca"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// oracle is what scikit-learn and sentence-transformers gave; its README names the scripts and the versions.
const oracle = "../testdata/oracle"

// pcaCase is a case of sklearn_pca.json.
type pcaCase struct {
	Name   string
	Models []struct {
		Name, File string
		Weight     float64
	}
	Normalize string
	Columns   int
	Fused     string  `json:"fused_sha256"`
	Total     float64 `json:"total_variance"`
	Rank      int
	Full      map[string]struct{ K int }
	All       struct {
		First []float64 `json:"explained_variance_first_20"`
	}
	First      []float64 `json:"explained_variance_first_20"` // of real data
	Mean       []float64
	Components struct {
		File string
		K    int
		Gap  float64
	}
}

func readOracle(t *testing.T, file string, to any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(oracle, file))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatal(err)
	}
}

func pcaCases(t *testing.T) (made, real []pcaCase) {
	t.Helper()
	var all struct{ Cases, Real []pcaCase }
	readOracle(t, "sklearn_pca.json", &all)
	return all.Cases, all.Real
}

// folder makes a folder of the case's vectors as documents, with the first of them as the one query.
func (c pcaCase) folder(t *testing.T) *dataset.Dataset {
	t.Helper()
	files := fstest.MapFS{"queries.ids": {Data: []byte("q\n")}, "qrels/train.tsv": {Data: []byte("q\td0\t1\n")}}
	for _, m := range c.Models {
		b, err := os.ReadFile(filepath.Join(oracle, m.File))
		if err != nil {
			t.Fatal(err)
		}
		files["vectors/"+m.Name+"/docs.npy"] = &fstest.MapFile{Data: b}
		x, err := npy.Open(os.DirFS(oracle), m.File, m.File, dataset.Watch{})
		if err != nil {
			t.Fatal(err)
		}
		header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (1, %d), }\n", x.Width())
		files["vectors/"+m.Name+"/queries.npy"] = &fstest.MapFile{Data: []byte("\x93NUMPY\x01\x00" + string(rune(len(header))) + "\x00" + header + strings.Repeat("\x00\x00\x80\x3f", x.Width()))}
		ids := ""
		for i := range x.Rows() {
			ids += fmt.Sprintf("d%d\n", i)
		}
		files["docs.ids"] = &fstest.MapFile{Data: []byte(ids)}
	}
	f, err := beir.OpenFS(files, c.Name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (c pcaCase) fit(t *testing.T, f *dataset.Dataset, o host.FitOptions) *host.Projection {
	t.Helper()
	o.NoNormalize = c.Normalize == "none"
	for _, m := range c.Models {
		o.Models = append(o.Models, host.Weight{Model: m.Name, Weight: m.Weight})
	}
	p, err := host.Fit(t.Context(), f, o)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	return p
}

// TestFitAgainstScikitLearn compares k, variances, mean and subspace with PCA of scikit-learn 1.9.1 on hard spectra: flat, of low rank, with
// duplicated rows, a constant column, fewer rows than columns.
func TestFitAgainstScikitLearn(t *testing.T) {
	made, _ := pcaCases(t)
	if len(made) < 10 {
		t.Fatalf("only %d cases", len(made))
	}
	for _, c := range made {
		f := c.folder(t)
		fused := make([]float32, f.Documents.Len()*c.Columns)
		p := c.fit(t, f, host.FitOptions{NoPCA: true})
		if err := transformAll(t, f, p, fused); err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(safetensors.OfFloat32("", fused).Data); hex.EncodeToString(sum[:]) != c.Fused {
			t.Errorf("%s: the fused vectors are not those that scikit-learn saw", c.Name)
		}
		for _, target := range []float64{0.7, 0.8, 0.9, 0.95, 0.99} {
			p := c.fit(t, f, host.FitOptions{Variance: target})
			if want := c.Full[fmt.Sprintf("%.2f", target)].K; p.Width() != want {
				t.Errorf("%s at %v: %d components; scikit-learn keeps %d", c.Name, target, p.Width(), want)
			}
			if p.CapturedVariance < target*p.TotalVariance {
				t.Errorf("%s at %v: %v of %v is captured", c.Name, target, p.CapturedVariance, p.TotalVariance)
			}
			if math.Abs(p.TotalVariance-c.Total) > 1e-9*c.Total {
				t.Errorf("%s: total variance %v; scikit-learn has %v", c.Name, p.TotalVariance, c.Total)
			}
		}
		p = c.fit(t, f, host.FitOptions{})
		for i, v := range p.Variances[:min(len(p.Variances), 20)] {
			if math.Abs(v-c.All.First[i]) > 1e-6*c.All.First[0] {
				t.Errorf("%s: variance %d is %v; scikit-learn has %v", c.Name, i, v, c.All.First[i])
			}
		}
		for i, m := range p.Mean {
			if math.Abs(float64(m)-c.Mean[i]) > 1e-6 {
				t.Errorf("%s: mean %d is %v; scikit-learn has %v", c.Name, i, m, c.Mean[i])
			}
		}
		if angle := c.angle(t, p); angle > 1e-5/c.Components.Gap {
			t.Errorf("%s: the subspaces are %v apart (gap %v)", c.Name, angle, c.Components.Gap)
		}
		all := c.fit(t, f, host.FitOptions{Variance: 1})
		if all.Width() != c.Rank {
			t.Errorf("%s at 1.0: %d components; NumPy's rank is %d", c.Name, all.Width(), c.Rank)
		}
		if math.Abs(all.CapturedVariance-all.TotalVariance) > 1e-6*all.TotalVariance {
			t.Errorf("%s at 1.0: %v of %v is captured", c.Name, all.CapturedVariance, all.TotalVariance)
		}
	}
}

// transformAll projects all documents, through the library alone.
func transformAll(t *testing.T, f *dataset.Dataset, p *host.Projection, dst []float32) error {
	t.Helper()
	var raw []pca.Raw
	rows := 0
	for _, m := range p.Models {
		v, err := f.Vectors(m.Name)
		if err != nil {
			return err
		}
		rows = v.Documents.Rows()
		r := pca.Raw{DType: v.Documents.DType(), Data: make([]byte, rows*m.Width*v.Documents.DType().Size())}
		if err := v.Documents.ReadRows(r.Data, 0, rows); err != nil {
			return err
		}
		raw = append(raw, r)
	}
	_, err := p.Fuse(dst, raw, rows, pca.ZeroSkip, func(model string) string { return model })
	return err
}

// angle is the sine of the largest angle between the subspace that scikit-learn's components span and quarry's.
func (c pcaCase) angle(t *testing.T, p *host.Projection) float64 {
	t.Helper()
	x, err := npy.Open(os.DirFS(oracle), c.Components.File, c.Components.File, dataset.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8*x.Rows()*x.Width())
	if err := x.ReadRows(b, 0, x.Rows()); err != nil {
		t.Fatal(err)
	}
	theirs := mat.NewDense(x.Rows(), x.Width(), safetensors.Float64s(b))
	ours := mat.NewDense(p.Width(), p.Columns(), nil)
	for i, v := range p.Components {
		ours.Set(i/p.Columns(), i%p.Columns(), float64(v))
	}
	// What is left of their components outside our subspace.
	var inside, left mat.Dense
	inside.Mul(theirs, ours.T())
	left.Mul(&inside, ours)
	left.Sub(theirs, &left)
	var svd mat.SVD
	if !svd.Factorize(&left, mat.SVDNone) {
		t.Fatal("no SVD")
	}
	return svd.Values(nil)[0]
}

// TestFitRealDataAgainstScikitLearn compares k with scikit-learn's on the real sets, within 1 %.
func TestFitRealDataAgainstScikitLearn(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: two fits of 1,536 columns take a minute; the ten made spectra are fitted all the same")
	}
	_, real := pcaCases(t)
	for _, c := range real {
		f := realFolder(t, c.Name)
		p := c.fit(t, f, host.FitOptions{})
		if want := c.Full["0.95"].K; math.Abs(float64(p.Width()-want)) > 0.01*float64(want) || p.CapturedVariance < 0.95*p.TotalVariance {
			t.Errorf("%s: %d components capture %v of %v; scikit-learn keeps %d", c.Name, p.Width(), p.CapturedVariance, p.TotalVariance, want)
		}
		if math.Abs(p.TotalVariance-c.Total) > 1e-9*c.Total {
			t.Errorf("%s: total variance %v; scikit-learn has %v", c.Name, p.TotalVariance, c.Total)
		}
		for i, want := range c.First {
			if math.Abs(p.Variances[i]-want) > 1e-6*c.First[0] {
				t.Errorf("%s: variance %d is %v; scikit-learn has %v", c.Name, i, p.Variances[i], want)
			}
		}
	}
}

// realFolder opens a folder of the real data, or skips the test where there is none.
func realFolder(t *testing.T, name string) *dataset.Dataset {
	t.Helper()
	dir := os.Getenv("QUARRY_DATA")
	if dir == "" {
		dir = "../../shared/data"
	}
	dir = filepath.Join(dir, name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no real data: set QUARRY_DATA to the folder that holds %s (%v)", name, err)
	}
	f, err := beir.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestRulesAgainstSentenceTransformers compares ids with mine_hard_negatives of sentence-transformers 6.2.0 for the rules that both have:
// each pair alone, and all positives of a query together.
func TestRulesAgainstSentenceTransformers(t *testing.T) {
	type pair struct {
		Query, Positive string
		Negatives       []string
	}
	var given struct {
		Rules []struct {
			Rule            string
			Alone, Together []pair
		}
	}
	readOracle(t, "st_negatives.json", &given)
	f, err := beir.Open(filepath.Join(oracle, "st"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := host.Fit(t.Context(), f, host.FitOptions{NoPCA: true})
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, rule := range given.Rules {
		for mode, want := range map[string][]pair{mining.PositivesEach: rule.Alone, mining.PositivesAll: rule.Together} {
			r, err := host.Mine(t.Context(), f, p, host.MineOptions{Rule: rule.Rule, Positives: mode, Compute: host.Compute{Engine: engine.Native(engine.Options{})}})
			if err != nil {
				t.Fatal(err)
			}
			got := map[[2]string][]string{}
			for _, p := range r.Pairs {
				ids := []string{}
				for _, n := range p.Negatives {
					ids = append(ids, n.ID)
				}
				got[[2]string{p.QueryID, p.PositiveID}] = ids
			}
			if len(got) != len(want) {
				t.Errorf("%s, %s: %d pairs; expected %d", rule.Rule, mode, len(got), len(want))
			}
			for _, w := range want {
				if ids := got[[2]string{w.Query, w.Positive}]; !slices.Equal(ids, w.Negatives) {
					t.Errorf("%s, %s: %s with %s has %v; mine_hard_negatives gives %v", rule.Rule, mode, w.Query, w.Positive, ids, w.Negatives)
				}
				compared++
			}
		}
	}
	if compared != 3*2*63 {
		t.Errorf("%d pairs were compared", compared)
	}
}
