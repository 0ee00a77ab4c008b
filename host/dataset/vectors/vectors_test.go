package vectors

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// The matrix that all files of testdata hold, but those in quantised: testdata/make.py writes them with other programs.
const rows, columns = 7, 4

func value(i, j int) float64 { return float64(i*columns+j-9) / 8 }

// written is a file that another program wrote.
type written struct {
	file   string // of testdata
	spec   string // what vectors.json says of it beside its path
	format string
	dtype  safetensors.DType
}

// flatFiles are those whose rows are read where they lie, or that one array is read of.
var flatFiles = []written{
	{"npy/f2.npy", "", "npy", safetensors.F16}, {"npy/f4.npy", "", "npy", safetensors.F32}, {"npy/f8.npy", "", "npy", safetensors.F64},
	{"npy/big-f2.npy", "", "npy", safetensors.F16}, {"npy/big-f4.npy", "", "npy", safetensors.F32}, {"npy/big-f8.npy", "", "npy", safetensors.F64},
	{"npy/fortran-f2.npy", "", "npy", safetensors.F16}, {"npy/fortran-f4.npy", "", "npy", safetensors.F32}, {"npy/fortran-f8.npy", "", "npy", safetensors.F64},
	{"npy/fortran-big.npy", "", "npy", safetensors.F32}, {"npy/bfloat16.npy", "", "npy", safetensors.F32},
	{"npy/int8.npy", "", "npy", safetensors.F32}, {"npy/int8-columns.npy", "", "npy", safetensors.F32}, {"npy/int8-rows.npy", "", "npy", safetensors.F32},
	{"npy/one.npz", "", "npz", safetensors.F32}, {"npy/compressed.npz", "", "npz", safetensors.F16}, {"npy/two.npz", `"column": "docs"`, "npz", safetensors.F64},
	{"safetensors/f2.safetensors", "", "safetensors", safetensors.F16}, {"safetensors/f4.safetensors", "", "safetensors", safetensors.F32},
	{"safetensors/f8.safetensors", "", "safetensors", safetensors.F64}, {"safetensors/bfloat16.safetensors", "", "safetensors", safetensors.F32},
	{"safetensors/two.safetensors", `"column": "b"`, "safetensors", safetensors.F64},
	{"faiss/ip.faiss", "", "faiss", safetensors.F32}, {"faiss/l2.faiss", "", "faiss", safetensors.F32}, {"faiss/x.fvecs", "", "fvecs", safetensors.F32},
}

// tableFiles are those that are converted. Those with ids have the rows in another order, or those of several models.
var tableFiles = []written{
	{"parquet/list.parquet", "", "parquet", safetensors.F32}, {"parquet/fixed.parquet", "", "parquet", safetensors.F32}, {"parquet/half.parquet", "", "parquet", safetensors.F16},
	{"parquet/large.parquet", "", "parquet", safetensors.F64}, {"parquet/groups.parquet", "", "parquet", safetensors.F16}, {"parquet/pages.parquet", "", "parquet", safetensors.F16},
	{"parquet/pages-v2.parquet", "", "parquet", safetensors.F16}, {"parquet/gzip.parquet", "", "parquet", safetensors.F16}, {"parquet/plain.parquet", "", "parquet", safetensors.F16},
	{"parquet/other-order.parquet", "", "parquet", safetensors.F16},
	{"arrow/list.arrow", "", "arrow", safetensors.F32}, {"arrow/fixed.arrow", "", "arrow", safetensors.F32}, {"arrow/half.arrow", "", "arrow", safetensors.F16},
	{"arrow/large.arrow", "", "arrow", safetensors.F64}, {"arrow/stream.arrows", "", "arrow", safetensors.F16}, {"arrow/lz4.feather", "", "arrow", safetensors.F16},
	{"arrow/zstd.feather", "", "arrow", safetensors.F16}, {"arrow/uncompressed.feather", "", "arrow", safetensors.F16},
	{"ids/dictionary.feather", "", "arrow", safetensors.F16}, {"ids/dictionary.arrows", "", "arrow", safetensors.F16},
	{"jsonl/json.jsonl", "", "jsonl", safetensors.F32}, {"jsonl/gzip.jsonl.gz", "", "jsonl", safetensors.F32}, {"jsonl/datasets.jsonl", "", "jsonl", safetensors.F32},
}

// sideIDs are the ids of the rows.
func sideIDs(t testing.TB, prefix string) dataset.IDs {
	t.Helper()
	var ids []string
	for i := range rows {
		ids = append(ids, prefix+string(rune('0'+i)))
	}
	all, err := dataset.IDsOf("corpus.jsonl", ids...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = all.Close() })
	return all
}

// folderOf is a data folder whose model a is a file, and what lies beside it, with a spec.
func folderOf(t testing.TB, file, spec string) fstest.MapFS {
	t.Helper()
	folder := fstest.MapFS{}
	entries, err := os.ReadDir("testdata/" + path.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	base, _, _ := strings.Cut(path.Base(file), ".")
	for _, e := range entries {
		if b, _, _ := strings.Cut(e.Name(), "."); b == base {
			text, err := os.ReadFile("testdata/" + path.Dir(file) + "/" + e.Name())
			if err != nil {
				t.Fatal(err)
			}
			folder["vectors/a/x/"+e.Name()] = &fstest.MapFile{Data: text}
		}
	}
	if spec != "" {
		spec = ", " + spec
	}
	folder["vectors/a/vectors.json"] = &fstest.MapFile{Data: []byte(`{"docs": {"path": "x/` + path.Base(file) + `"` + spec + `}}`)}
	return folder
}

// MinedFolders are data folders that have each file of testdata as their documents and their queries, and the data set that
// datasets saved, by the file's name. TestSameNegatives lies outside of the package, since it mines.
func MinedFolders(t testing.TB) map[string]fstest.MapFS {
	folders := map[string]fstest.MapFS{"saved": savedFolder(t)}
	for _, w := range slices.Concat(flatFiles, tableFiles) {
		folders[w.file] = folderOf(t, w.file, w.spec)
	}
	const specFile = "vectors/a/vectors.json"
	for _, folder := range folders {
		spec := `"docs": {"path": "docs"}`
		if f := folder[specFile]; f != nil {
			spec = strings.Trim(string(f.Data), "{}") + "}"
		}
		folder[specFile] = &fstest.MapFile{Data: []byte("{" + spec + "," + strings.Replace(spec, "docs", "queries", 1) + "}")}
	}
	return folders
}

// savedFolder has what datasets saved as model a's documents.
func savedFolder(t testing.TB) fstest.MapFS {
	t.Helper()
	folder := fstest.MapFS{}
	entries, err := os.ReadDir("testdata/saved")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile("testdata/saved/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		folder["vectors/a/docs/"+e.Name()] = &fstest.MapFile{Data: b}
	}
	return folder
}

// open opens model a's documents. Opened dry, they have the same shape, or the same error.
func open(fsys fs.FS, ids dataset.IDs) (dataset.Matrix, error) {
	f := New(fsys, "data", "docs", []string{"a"})
	x, err := f.OpenMatched("a", ids, dataset.Watch{})
	dry, dryErr := f.OpenMatched("a", ids, dataset.Watch{Dry: true})
	if fmt.Sprint(err) != fmt.Sprint(dryErr) {
		return nil, fmt.Errorf("dry %v; otherwise %v", dryErr, err)
	}
	if err != nil {
		return nil, err
	}
	if dry.Name() != x.Name() || dry.Rows() != x.Rows() || dry.Width() != x.Width() || dry.DType() != x.DType() {
		return nil, fmt.Errorf("dry %s of %d rows of %d %s; otherwise %s of %d of %d %s", dry.Name(), dry.Rows(), dry.Width(), dry.DType(), x.Name(), x.Rows(), x.Width(), x.DType())
	}
	return x, dataset.CloseSource(dry)
}

// floats are the values of all rows, read in two blocks.
func floats(t testing.TB, x dataset.Matrix) (all []float64) {
	t.Helper()
	size := x.DType().Size()
	b := make([]byte, x.Rows()*x.Width()*size)
	cut := x.Rows() / 3
	for _, block := range [][2]int{{cut, x.Rows()}, {0, cut}} {
		if err := x.ReadRows(b[block[0]*x.Width()*size:block[1]*x.Width()*size], block[0], block[1]-block[0]); err != nil {
			t.Fatal(err)
		}
	}
	for ; len(b) > 0; b = b[size:] {
		switch x.DType() {
		case safetensors.F16:
			all = append(all, float16(binary.LittleEndian.Uint16(b)))
		case safetensors.F32:
			all = append(all, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
		default:
			all = append(all, math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
	}
	return all
}

// float16 is the value of a float16 that is no subnormal, infinity or NaN.
func float16(u uint16) float64 {
	if u&0x7fff == 0 {
		return 0
	}
	x := math.Ldexp(1+float64(u&0x3ff)/1024, int(u>>10&31)-15)
	if u>>15 == 1 {
		return -x
	}
	return x
}

// checkValues compares a matrix with that of testdata.
func checkValues(t testing.TB, x dataset.Matrix, dtype safetensors.DType) {
	t.Helper()
	var want []float64
	for i := range rows {
		for j := range columns {
			want = append(want, value(i, j))
		}
	}
	if x.Rows() != rows || x.Width() != columns || x.DType() != dtype {
		t.Fatalf("%d rows of %d %s; expected %s", x.Rows(), x.Width(), x.DType(), dtype)
	}
	if got := floats(t, x); !slices.Equal(got, want) {
		t.Errorf("%v; expected %v", got, want)
	}
	if err := dataset.CloseSource(x); err != nil {
		t.Error(err)
	}
}

// TestFilesOfOtherPrograms reads every file of testdata, and cuts each at every byte: that is an error that names the file.
func TestFilesOfOtherPrograms(t *testing.T) {
	for _, w := range slices.Concat(flatFiles, tableFiles) {
		t.Run(w.file, func(t *testing.T) {
			t.Parallel()
			folder, ids := folderOf(t, w.file, w.spec), sideIDs(t, "d")
			x, err := open(folder, ids)
			if err != nil {
				t.Fatal(err)
			}
			checkValues(t, x, w.dtype)
			f := New(folder, "data", "docs", []string{"a"})
			if s, err := f.find("a"); err != nil || s.format != w.format {
				t.Errorf("it is told as %v, %v", s, err)
			}
			name := "vectors/a/x/" + path.Base(w.file)
			whole := folder[name].Data
			folder["vectors/a/vectors.json"].Data = []byte(strings.Replace(string(folder["vectors/a/vectors.json"].Data), `"}`, `", "format": "`+w.format+`"}`, 1))
			datasettest.EachCut(whole, func(n int, cut []byte) {
				if testing.Short() && n%7 != 0 && n < len(whole)-20 {
					return
				}
				folder[name] = &fstest.MapFile{Data: cut}
				x, err := open(folder, ids)
				if err == nil && x.Rows() == rows { // what was cut off is a line's end
					checkValues(t, x, w.dtype)
					if !strings.Contains(w.file, "jsonl") || n < len(whole)-10 {
						t.Fatalf("cut at %d of %d: no error", n, len(whole))
					}
					return
				}
				if err == nil { // whole lines are gone: Dataset compares the rows with the ids
					if !strings.Contains(w.file, "jsonl") && w.format != "fvecs" {
						t.Fatalf("cut at %d of %d: %d rows", n, len(whole), x.Rows())
					}
					_ = dataset.CloseSource(x)
					return
				}
				datasettest.AsError(t, err, "data/"+name)
			})
		})
	}
}

// TestTablesOfOtherPrograms has ids that are numbers, a data set that datasets saved, and tables that are not sound.
func TestTablesOfOtherPrograms(t *testing.T) {
	x, err := open(folderOf(t, "parquet/numbers.parquet", `"column": "a"`), sideIDs(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	if name, row := dataset.Place(x, 5); name != "data/vectors/a/x/numbers.parquet" || row != 0 {
		t.Errorf("row 5 is row %d of %s", row, name)
	}
	checkValues(t, x, safetensors.F16)
	if x, err = open(savedFolder(t), sideIDs(t, "d")); err != nil {
		t.Fatal(err)
	}
	checkValues(t, x, safetensors.F16)
	for file, says := range map[string]string{
		"missing.parquet":    `no row has the id "d5" of corpus.jsonl`,
		"twice.parquet":      `row 7 (the first is 0): id "d2" is given twice, first in row 2`,
		"null.parquet":       "row 1 (the first is 0): the vector, or a value of it, is null or empty",
		"ragged.parquet":     "row 1 (the first is 0): 1 values; the first row has 2",
		"empty-page.parquet": "the library that reads it failed: ",
	} {
		_, err := open(folderOf(t, "parquet/"+file, ""), sideIDs(t, "d"))
		if e := datasettest.AsError(t, err, "data/vectors/a/x/"+file); !strings.Contains(e.Error(), says) {
			t.Errorf("%s: %v; expected %q", file, err, says)
		}
	}
	_, err = open(folderOf(t, "arrow/null.arrow", ""), sideIDs(t, "d"))
	if e := datasettest.AsError(t, err, "data/vectors/a/x/null.arrow"); e.Row != 1 || !strings.Contains(e.Problem, "the vector is null") {
		t.Error(err)
	}
}

// TestIDTypes matches rows by whole numbers of every type. Ids of a type that is not read are an error, even where nobody named them:
// without them the rows would be taken in the order in which they lie there.
func TestIDTypes(t *testing.T) {
	for _, ending := range []string{"parquet", "arrow"} {
		file := "ids/types." + ending
		for _, bits := range []int{8, 16, 32, 64} {
			var signed, unsigned []string
			for i := range rows {
				signed = append(signed, strconv.FormatInt(int64(-1)<<(bits-1)+int64(i), 10))
				unsigned = append(unsigned, strconv.FormatUint(math.MaxUint64>>(64-bits)-uint64(rows-1-i), 10))
			}
			for column, ids := range map[string][]string{"int": signed, "uint": unsigned} {
				all, err := dataset.IDsOf("corpus.jsonl", ids...)
				if err != nil {
					t.Fatal(err)
				}
				x, err := open(folderOf(t, file, fmt.Sprintf(`"id": "%s%d"`, column, bits)), all)
				if err != nil {
					t.Fatalf("%s: %s%d: %v", file, column, bits, err)
				}
				checkValues(t, x, safetensors.F16)
				_ = all.Close()
			}
		}
		for _, column := range []string{"", "float", "decimal", "date", "struct", "bool", "list", "run-ends", "binary"} {
			spec, says := fmt.Sprintf(`"id": "%s"`, column), fmt.Sprintf(`column "%s" is of type `, column)
			switch {
			case column == "":
				spec, says = "", `column "_id" is of type `
			case ending == "parquet" && (column == "run-ends" || column == "binary"):
				says = fmt.Sprintf(`there is no column "%s" of ids`, column)
			}
			_, err := open(folderOf(t, file, spec), sideIDs(t, "d"))
			if e := datasettest.AsError(t, err, "data/vectors/a/x/types."+ending); !strings.HasPrefix(e.Problem, says) || !strings.Contains(e.Hint, "vectors.json") {
				t.Errorf("%s: %s: %v", file, column, err)
			}
		}
		x, err := open(folderOf(t, file, `"id": ""`), sideIDs(t, "d"))
		if err != nil {
			t.Fatal(err)
		}
		if first := floats(t, x)[0]; first != value(5, 0) {
			t.Errorf("%s: the first value is %v; expected that of row 5, which lies first", file, first)
		}
	}
}

// TestCodecs reads pages of more than a kilobyte in each compression. parquet-go gives other values of LZ4, so that is refused.
func TestCodecs(t *testing.T) {
	for _, codec := range []string{"snappy", "gzip", "brotli", "zstd"} {
		x, err := open(folderOf(t, "codecs/"+codec+".parquet", ""), nil)
		if err != nil {
			t.Fatal(err)
		}
		for n, got := range floats(t, x) {
			if want := value(n/columns%rows, n%columns); got != want {
				t.Fatalf("%s: row %d, column %d: %v; expected %v", codec, n/columns, n%columns, got, want)
			}
		}
		if x.Rows() != 20*rows {
			t.Errorf("%s: %d rows", codec, x.Rows())
		}
		if err := dataset.CloseSource(x); err != nil {
			t.Error(err)
		}
	}
	_, err := open(folderOf(t, "codecs/lz4.parquet", ""), nil)
	if e := datasettest.AsError(t, err, "data/vectors/a/x/lz4.parquet"); e.Problem != `column "embedding" is compressed with LZ4_RAW, which is not read` || !strings.Contains(e.Hint, "zstd") {
		t.Error(err)
	}
}

// TestFormatHint follows the hint for a file whose format nothing tells.
func TestFormatHint(t *testing.T) {
	folder := fstest.MapFS{"vectors/a/docs.bin": {Data: []byte("\x02\x00\x00\x00\x07\x08")}}
	_, err := open(folder, nil)
	e := datasettest.AsError(t, err, "data/vectors/a/docs.bin")
	says := e.Hint[strings.Index(e.Hint, "{"):]
	folder["vectors/a/vectors.json"] = &fstest.MapFile{Data: []byte(strings.Replace(says, "npy", "bvecs", 1))}
	x, err := open(folder, nil)
	if err != nil {
		t.Fatalf("%v, after the hint %q", err, e.Hint)
	}
	if got := floats(t, x); !slices.Equal(got, []float64{7, 8}) {
		t.Errorf("values %v", got)
	}
}

// TestNamedAsModel has files of several arrays or tensors: that with the model's name is read.
func TestNamedAsModel(t *testing.T) {
	for file, c := range map[string]struct{ model, says string }{
		"npy/two.npz":                 {"docs", "there are 2 arrays, and none has the model's name: docs, queries"},
		"safetensors/two.safetensors": {"b", "there are 2 tensors of two dimensions, and none has the model's name: a, b"},
	} {
		b, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		folder := fstest.MapFS{}
		open := func(model string) (dataset.Matrix, error) {
			folder["vectors/"+model+"/docs"+path.Ext(file)] = &fstest.MapFile{Data: b}
			return New(folder, "data", "docs", []string{model}).Open(model)
		}
		x, err := open(c.model)
		if err != nil {
			t.Fatal(err)
		}
		checkValues(t, x, safetensors.F64)
		_, err = open("other")
		if e := datasettest.AsError(t, err, "data/vectors/other/docs"+path.Ext(file)); e.Problem != c.says || e.Hint == "" {
			t.Error(err)
		}
	}
}

// TestChecksum has .npz files with a byte of their values changed, which their checksums tell.
func TestChecksum(t *testing.T) {
	for name, values := range map[string]string{"one.npz": "\x93NUMPY", "compressed.npz": "arr_0.npy"} {
		folder := folderOf(t, "npy/"+name, "")
		b := folder["vectors/a/x/"+name].Data
		b[bytes.Index(b, []byte(values))+150] ^= 1
		_, err := open(folder, nil)
		if e := datasettest.AsError(t, err, "data/vectors/a/x/"+name); !strings.HasPrefix(e.Problem, `the array "arr_0.npy" is not whole: `) {
			t.Error(err)
		}
	}
}

// TestArrowLengths has a compressed file that says of its values that they are a tebibyte.
func TestArrowLengths(t *testing.T) {
	folder := folderOf(t, "arrow/lz4.feather", "")
	b := folder["vectors/a/x/lz4.feather"].Data
	frame := bytes.Index(b, []byte("\x04\x22\x4d\x18")) // which the length stands before
	if frame < 0 {
		t.Fatal("no LZ4 frame")
	}
	binary.LittleEndian.PutUint64(b[frame-8:], 1<<40)
	_, err := open(folder, sideIDs(t, "d"))
	if e := datasettest.AsError(t, err, "data/vectors/a/x/lz4.feather"); !strings.Contains(e.Problem, "it asks for 1099511627776 bytes") {
		t.Error(err)
	}
}

// TestQuantised reads what quantize_embeddings of sentence-transformers made, with the ranges that it was given. The values
// are those that sentence-transformers itself makes of them.
func TestQuantised(t *testing.T) {
	for _, precision := range []string{"int8", "uint8"} {
		folder := folderOf(t, "quantised/"+precision+".npy", "")
		x, err := open(folder, nil)
		if err != nil {
			t.Fatal(err)
		}
		expected, err := open(folderOf(t, "quantised/"+precision+".expected.npy", ""), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := floats(t, x), floats(t, expected); !slices.Equal(got, want) {
			t.Errorf("%s: %v; expected %v", precision, got, want)
		}
		delete(folder, "vectors/a/x/"+precision+".ranges.npy")
		_, err = open(folder, nil)
		if e := datasettest.AsError(t, err, "data/vectors/a/x/"+precision+".npy"); !strings.Contains(e.Problem, "no scale beside the file") || !strings.Contains(e.Hint, "quantize_embeddings") {
			t.Error(err)
		}
	}
	x, err := open(folderOf(t, "faiss/x.ivecs", ""), nil)
	if err != nil || x.DType() != safetensors.F64 || floats(t, x)[0] != -9 {
		t.Errorf("ivecs: %v", err)
	}
}

// TestWatch opens a file of each format that is converted or whose checksum is compared, and is told so; and stops where it is to.
func TestWatch(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, file := range []string{"npy/fortran-f4.npy", "npy/compressed.npz", "npy/one.npz", "parquet/list.parquet", "arrow/list.arrow", "jsonl/json.jsonl"} {
		f, told := New(folderOf(t, file, ""), "data", "docs", []string{"a"}), ""
		x, err := f.OpenMatched("a", sideIDs(t, "d"), dataset.Watch{Progress: func(stage string, done, total int64) { told = fmt.Sprint(stage, " ", done == total) }})
		if err != nil {
			t.Fatal(err)
		}
		if _, at, _ := strings.Cut(told, " "); at != "data/vectors/a/x/"+filepath.Base(file)+" true" {
			t.Errorf("%s: %q", file, told)
		}
		_ = dataset.CloseSource(x)
		if _, err := f.OpenMatched("a", sideIDs(t, "d"), dataset.Watch{Context: stopped}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestDry has no folder for temporary files: tables and arrays in Fortran order have a shape nevertheless, and no rows.
func TestDry(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/none")
	for _, file := range []string{"npy/fortran-f4.npy", "parquet/list.parquet", "arrow/list.arrow", "jsonl/json.jsonl"} {
		f := New(folderOf(t, file, ""), "data", "docs", []string{"a"})
		if _, err := f.OpenMatched("a", sideIDs(t, "d"), dataset.Watch{}); err == nil {
			t.Errorf("%s is converted without a temporary file", file)
		}
		x, err := f.OpenMatched("a", sideIDs(t, "d"), dataset.Watch{Dry: true})
		if err != nil || x.Rows() != rows || x.Width() != columns {
			t.Fatalf("%s: %v, %v", file, x, err)
		}
		for _, err := range []error{x.ReadRows(make([]byte, columns*x.DType().Size()), 0, 1), second(x.SHA256())} {
			if e := datasettest.AsError(t, err, "data/vectors/a/x/"+filepath.Base(file)); e.Problem != "its rows were counted, and not kept" {
				t.Error(err)
			}
		}
		if err := dataset.CloseSource(x); err != nil {
			t.Error(err)
		}
	}
}

func second(_ string, err error) error { return err }

// TestParts reads parts of a folder, of a pattern, and beside one another, in the order of their numbers.
func TestParts(t *testing.T) {
	for _, layout := range []struct{ part, spec string }{
		{"vectors/a/docs/part-%.npy", ""},
		{"vectors/a/docs-%.npy", ""},
		{"vectors/a/run/x-%", `{"docs": {"path": "run/x-*"}}`},
	} {
		folder := fstest.MapFS{"vectors/a/docs/_SUCCESS": {}, "vectors/a/docs/.hidden.npy": {}, "vectors/a/docs/part.json": {}}
		if !strings.Contains(layout.part, "/docs/") {
			folder = fstest.MapFS{}
		}
		for _, n := range []string{"9", "10", "11"} {
			b, err := os.ReadFile("testdata/parts/part-" + n + ".npy")
			if err != nil {
				t.Fatal(err)
			}
			folder[strings.Replace(layout.part, "%", n, 1)] = &fstest.MapFile{Data: b}
		}
		if layout.spec != "" {
			folder["vectors/a/vectors.json"] = &fstest.MapFile{Data: []byte(layout.spec)}
		}
		x, err := open(folder, nil)
		if err != nil {
			t.Fatal(err)
		}
		if name, row := dataset.Place(x, 5); name != "data/"+strings.Replace(layout.part, "%", "11", 1) || row != 0 {
			t.Errorf("row 5 is row %d of %s", row, name)
		}
		checkValues(t, x, safetensors.F32)
	}
}

// TestListedParts reads parts in the order in which vectors.json names them.
func TestListedParts(t *testing.T) {
	folder := fstest.MapFS{}
	for name, part := range map[string]string{"z.npy": "9", "run/a-9.npy": "10", "run/a-10.npy": "11"} {
		b, err := os.ReadFile("testdata/parts/part-" + part + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		folder["vectors/a/"+name] = &fstest.MapFile{Data: b}
	}
	listed := func(paths string) (dataset.Matrix, error) {
		folder["vectors/a/vectors.json"] = &fstest.MapFile{Data: []byte(`{"docs": {"path": ` + paths + `}}`)}
		return open(folder, nil)
	}
	x, err := listed(`["z.npy", "run/a-*.npy"]`)
	if err != nil {
		t.Fatal(err)
	}
	if x.Name() != "data/vectors/a/z.npy, run/a-*.npy" {
		t.Errorf("messages call it %q", x.Name())
	}
	checkValues(t, x, safetensors.F32)
	for paths, at := range map[string]string{`["z.npy", "*.npy"]`: "z.npy", `["z.npy", "y.npy"]`: "y.npy", `["z.npy", "../../../z.npy"]`: "vectors.json", `["z.npy", 1]`: "vectors.json"} {
		_, err := listed(paths)
		if e := datasettest.AsError(t, err, "data/vectors/a/"+at); e.Hint == "" {
			t.Errorf("%s: %v", paths, err)
		}
	}
}

// TestFolderMessages opens folders that are not sound.
func TestFolderMessages(t *testing.T) {
	file := func(name string) *fstest.MapFile {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return &fstest.MapFile{Data: b}
	}
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for what, c := range map[string]struct {
		files fstest.MapFS
		path  string
		says  string
	}{
		"two files":          {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "docs.npz": file("npy/one.npz")}, "docs.npy", "there is docs.npz too"},
		"no file":            {fstest.MapFS{"queries.npy": file("npy/f4.npy")}, "docs.npy", "does not exist"},
		"no format":          {fstest.MapFS{"docs.xyz": text("hello, world")}, "docs.xyz", "neither its first bytes nor its name tell the format"},
		"an unknown format":  {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "vectors.json": text(`{"docs": {"path": "docs.npy", "format": "csv"}}`)}, "docs.npy", `its format is "csv"; known are npy, npz`},
		"an unknown key":     {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "vectors.json": text(`{"docs": {"file": "docs.npy"}}`)}, "vectors.json", "file"},
		"ids of an npz":      {fstest.MapFS{"docs.npz": file("npy/two.npz"), "vectors.json": text(`{"docs": {"column": "docs", "id": "ids"}}`)}, "vectors.json", `"id" is "ids"; files of format npz have no columns of ids`},
		"ids of an npy":      {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "vectors.json": text(`{"docs": {"path": "docs.npy", "format": "npy", "id": "ids"}}`)}, "vectors.json", `"id" is "ids"; files of format npy have no columns of ids`},
		"a column of faiss":  {fstest.MapFS{"docs.faiss": file("faiss/ip.faiss"), "vectors.json": text(`{"docs": {"column": "x"}}`)}, "vectors.json", `"column" is "x"; files of format faiss hold one array`},
		"not to be read":     {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "vectors.json": {Mode: fs.ModeDir}}, "vectors.json", "invalid argument"},
		"two objects":        {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "vectors.json": text("{}\n{}")}, "vectors.json", "not what vectors.json is: "},
		"an array":           {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "vectors.json": text("[1]")}, "vectors.json", "not what vectors.json is: "},
		"a number":           {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "vectors.json": text(`{"docs": {"format": 1}}`)}, "vectors.json", "format"},
		"an empty file":      {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "vectors.json": text("")}, "vectors.json", "not what vectors.json is: "},
		"a mark and more":    {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "vectors.json": text("\xef\xbb\xbf" + `{"docs": {"path": "docs.npz"}}`)}, "docs.npz", "does not exist"},
		"out of the folder":  {fstest.MapFS{"vectors.json": text(`{"docs": {"path": "../../../x"}}`)}, "vectors.json", "leads out of the data folder"},
		"no match":           {fstest.MapFS{"vectors.json": text(`{"docs": {"path": "x-*.npy"}}`)}, "x-*.npy", "no file matches"},
		"an empty folder":    {fstest.MapFS{"docs/.x": text("")}, "docs", "there are no parts in the folder"},
		"several splits":     {fstest.MapFS{"docs/dataset_dict.json": text("{}")}, "docs", "several splits"},
		"parts that differ":  {fstest.MapFS{"docs/1.npy": file("npy/f4.npy"), "docs/2.npy": file("npy/f2.npy")}, "docs/2.npy", "4 columns of F16; data/vectors/a/docs/1.npy has 4 of F32"},
		"mixed formats":      {fstest.MapFS{"docs/1.npy": file("npy/f4.npy"), "docs/2.faiss": file("faiss/ip.faiss")}, "docs/2.faiss", "it is of format faiss; 1.npy is of format npy"},
		"another index":      {fstest.MapFS{"docs.faiss": file("faiss/hnsw.faiss")}, "docs.faiss", "flat indexes are read"},
		"an index with ids":  {fstest.MapFS{"docs.faiss": file("faiss/ids.faiss")}, "docs.faiss", "hint: its rows are in the order in which they were added"},
		"a scale of floats":  {fstest.MapFS{"docs.npy": file("npy/f4.npy"), "docs.scale.npy": file("npy/int8.scale.npy")}, "docs.scale.npy", "docs.npy holds no integers that have a scale"},
		"a scale of F16":     {fstest.MapFS{"docs.safetensors": file("safetensors/f2.safetensors"), "docs.ranges.npy": file("quantised/int8.ranges.npy")}, "docs.ranges.npy", "docs.safetensors holds no integers that have a scale"},
		"a scale of a table": {fstest.MapFS{"docs.parquet": file("parquet/list.parquet"), "docs.scale.npy": file("npy/int8.scale.npy")}, "docs.scale.npy", "docs.parquet holds no integers that have a scale"},
		"a NaN":              {fstest.MapFS{"docs.jsonl": text(`{"v": [1, NaN]}`)}, "docs.jsonl", `line 1: field "v" is not an array of numbers, all of which are finite as float32`},
		"a large number":     {fstest.MapFS{"docs.jsonl": text(`{"v": [1e39]}`)}, "docs.jsonl", `line 1: field "v" is not an array of numbers, all of which are finite as float32`},
		"two bytes":          {fstest.MapFS{"docs.parquet": file("ids/two-bytes.parquet"), "vectors.json": text(`{"docs": {"column": "bytes"}}`)}, "docs.parquet", `no column "bytes" of vectors; there are: embedding`},
		"decimals":           {fstest.MapFS{"docs.parquet": file("ids/two-bytes.parquet"), "vectors.json": text(`{"docs": {"column": "decimals"}}`)}, "docs.parquet", `no column "decimals" of vectors; there are: embedding`},
		"one name, Parquet":  {fstest.MapFS{"docs.parquet": file("ids/same-name.parquet")}, "docs.parquet", `2 columns have the name "_id"`},
		"one name, Arrow":    {fstest.MapFS{"docs.feather": file("ids/same-name.feather")}, "docs.feather", `2 columns have the name "_id"`},
		"two arrays":         {fstest.MapFS{"docs.npz": file("npy/two.npz")}, "docs.npz", "there are 2 arrays, and none has the model's name: docs, queries"},
		"no such tensor":     {fstest.MapFS{"docs.safetensors": file("safetensors/two.safetensors"), "vectors.json": text(`{"docs": {"column": "c"}}`)}, "docs.safetensors", `no tensor "c"`},
		"no vectors":         {fstest.MapFS{"docs.jsonl": text(`{"_id": "d0", "text": "x"}`)}, "docs.jsonl", "there is no column of vectors"},
		"a null":             {fstest.MapFS{"docs.jsonl": text(`{"v": [1]}` + "\n" + `{"v": [null]}`)}, "docs.jsonl", `line 2: field "v" is not an array of numbers`},
		"an id not UTF-8":    {fstest.MapFS{"docs.parquet": file("ids/not-utf-8.parquet")}, "docs.parquet", `row 1 (the first is 0): column "_id": not UTF-8: "\xff\xfe"`},
		"ragged":             {fstest.MapFS{"docs.jsonl": text(`{"v": [1]}` + "\n" + `{"v": [1, 2]}`)}, "docs.jsonl", "line 2: more values; the first row has 1"},
		"an id twice":        {fstest.MapFS{"docs.jsonl": text(`{"id": "d0", "v": [1]}` + "\n" + `{"id": "d0", "v": [1]}`)}, "docs.jsonl", `line 2: id "d0" is given twice, first in line 1`},
		"an id of no type":   {fstest.MapFS{"docs.jsonl": text(`{"id": true, "v": [1]}`)}, "docs.jsonl", `column "id" is of type true or false, which is not read as ids`},
		"a first id null":    {fstest.MapFS{"docs.jsonl": text(`{"id": null, "v": [1]}` + "\n" + `{"id": "d0", "v": [1]}`)}, "docs.jsonl", "line 1: there is no id"},
		"no first id":        {fstest.MapFS{"docs.jsonl": text(`{"v": [1]}` + "\n" + `{"id": "d0", "v": [1]}`)}, "docs.jsonl", `line 2: it has ids in column "id", and the rows before have none`},
		"no ids in part 1":   {fstest.MapFS{"docs/1.jsonl": text(`{"v": [1]}`), "docs/2.jsonl": text(`{"id": "d0", "v": [1]}`)}, "docs/2.jsonl", `it has ids in column "id", and the rows before have none`},
		"an id missing":      {fstest.MapFS{"docs.jsonl": text(`{"id": "d0", "v": [1]}` + "\n" + `{"id": "x", "v": [1]}`)}, "docs.jsonl", `no row has the id "d1" of corpus.jsonl`},
	} {
		t.Run(what, func(t *testing.T) {
			folder := fstest.MapFS{}
			for name, f := range c.files {
				folder["vectors/a/"+name] = f
			}
			_, err := open(folder, sideIDs(t, "d"))
			if e := datasettest.AsError(t, err, "data/vectors/a/"+c.path); !strings.Contains(e.Error(), c.says) || e.Hint == "" || strings.Contains(e.Error(), "Go ") {
				t.Errorf("%v; expected %q and a hint, and no type of Go", err, c.says)
			}
		})
	}
}

// TestShared has one table with a column for each model, beside a folder of one more.
func TestShared(t *testing.T) {
	lines := ""
	for i := range rows {
		lines = `{"id": "d` + string(rune('0'+i)) + `", "m": [` + string(rune('0'+i)) + `], "n": [-1, -2]}` + "\n" + lines
	}
	b, err := os.ReadFile("testdata/npy/f4.npy")
	if err != nil {
		t.Fatal(err)
	}
	folder := fstest.MapFS{"vectors/docs.jsonl": {Data: []byte(lines)}, "vectors/a/docs.npy": {Data: b}, "vectors/a/queries.npy": {Data: b}}
	models, err := Models(folder, "data")
	if err != nil || !slices.Equal(models, []string{"a", "m", "n"}) {
		t.Fatalf("models %q, %v", models, err)
	}
	f := New(folder, "data", "docs", models)
	x, err := f.OpenMatched("m", sideIDs(t, "d"), dataset.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	defer dataset.CloseSource(x)
	if got := floats(t, x); !slices.Equal(got, []float64{0, 1, 2, 3, 4, 5, 6}) {
		t.Errorf("rows %v; expected those in the order of the ids", got)
	}
	if name, row := dataset.Place(x, 2); name != "data/vectors/docs.jsonl" || row != 4 {
		t.Errorf("row 2 is row %d of %s", row, name)
	}
	_, err = New(folder, "data", "queries", models).Open("m")
	if e := datasettest.AsError(t, err, "data/vectors"); !strings.Contains(e.Problem, "there is no queries.parquet") {
		t.Error(err)
	}
}
