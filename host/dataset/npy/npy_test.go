package npy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
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

// npyFile is a .npy file of a format version, with any header and data.
func npyFile(version byte, header string, data []byte) []byte {
	b := append([]byte("\x93NUMPY"), version, 0)
	if version == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	}
	return append(append(b, header...), data...)
}

func header(descr string, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }   \n", descr, shape)
}

// counting is n bytes, each different from the one before.
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	return b
}

// simpleNpy reads a .npy file in one piece. It reads the header as Python does: as a dictionary, which has exactly
// three keys.
func simpleNpy(b []byte) (descr string, fortran bool, rows, width int, data []byte, ok bool) {
	begin := 10
	length := int(binary.LittleEndian.Uint16(b[8:]))
	if b[6] > 1 {
		begin, length = 12, int(binary.LittleEndian.Uint32(b[8:]))
	}
	text := strings.TrimSpace(string(b[begin : begin+length]))
	if !strings.HasPrefix(text, "{") || !strings.HasSuffix(text, "}") {
		return "", false, 0, 0, nil, false
	}
	text = text[1 : len(text)-1]
	values := map[string]string{}
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if text[0] != '\'' {
			return "", false, 0, 0, nil, false
		}
		key, after, _ := strings.Cut(text[1:], "'")
		after, colon := strings.CutPrefix(strings.TrimSpace(after), ":")
		after = strings.TrimSpace(after)
		if _, twice := values[key]; twice || !colon || after == "" {
			return "", false, 0, 0, nil, false
		}
		end := strings.IndexByte(after+",", ',')
		switch after[0] {
		case '\'':
			end = strings.IndexByte(after[1:], '\'') + 2
		case '(':
			end = strings.IndexByte(after, ')') + 1
		}
		values[key] = strings.TrimSpace(after[:end])
		text = strings.TrimSpace(after[end:])
		if rest, comma := strings.CutPrefix(text, ","); comma {
			text = rest
		} else if text != "" {
			return "", false, 0, 0, nil, false
		}
	}
	shape := strings.Split(strings.Trim(values["shape"], "()"), ",")
	if len(shape) == 3 && strings.TrimSpace(shape[2]) == "" {
		shape = shape[:2]
	}
	fortran = values["fortran_order"] == "True"
	if len(values) != 3 || len(shape) != 2 || !fortran && values["fortran_order"] != "False" {
		return "", false, 0, 0, nil, false
	}
	rows, errRows := strconv.Atoi(strings.TrimSpace(shape[0]))
	width, errWidth := strconv.Atoi(strings.TrimSpace(shape[1]))
	return strings.Trim(values["descr"], "'"), fortran, rows, width, b[begin+length:], errRows == nil && errWidth == nil
}

// openNpy opens bytes as a file. It fails where that allocates more than the file's size allows.
func openNpy(t testing.TB, b []byte) (n *File, err error) {
	t.Helper()
	datasettest.Allocates(t, 8*len(b)+1<<16, func() { n, err = Open(fstest.MapFS{"x.npy": {Data: b}}, "x.npy", "dir/x.npy", dataset.Watch{}) })
	return n, err
}

// npySizes are the bytes of a value in the file.
var npySizes = func() map[string]int {
	sizes := map[string]int{}
	for _, order := range []string{"<", ">", "|"} {
		for name, size := range map[string]int{"f2": 2, "f4": 4, "f8": 8, "V2": 2, "i1": 1, "u1": 1} {
			sizes[order+name] = size
		}
	}
	return sizes
}()

// simpleRows is the rows of an array, value by value: in C order, little endian, and bfloat16 as float32.
func simpleRows(descr string, fortran bool, rows, width int, data []byte) (all []byte) {
	size := npySizes[descr]
	for r := range rows {
		for c := range width {
			at := r*width + c
			if fortran {
				at = c*rows + r
			}
			value := bytes.Clone(data[at*size:][:size])
			if descr[0] == '>' {
				slices.Reverse(value)
			}
			if descr[1:] == "V2" {
				value = append([]byte{0, 0}, value...)
			}
			all = append(all, value...)
		}
	}
	return all
}

// checkNpy compares a file that was accepted with the simple reading.
func checkNpy(t testing.TB, n *File, b []byte) {
	t.Helper()
	descr, fortran, rows, width, data, ok := simpleNpy(b)
	if !ok || n.Rows() != rows || n.Width() != width || npySizes[descr] == 0 || len(data) != rows*width*npySizes[descr] {
		t.Fatalf("accepted as %d rows of %d %s; Python's literal is %q %d %d with %d bytes, sound: %v", n.Rows(), n.Width(), n.DType(), descr, rows, width, len(data), ok)
	}
	all := simpleRows(descr, fortran, rows, width, data)
	stride := width * n.DType().Size()
	if len(all) != rows*stride {
		t.Fatalf("%d bytes of %d rows of %d %s", len(all), rows, width, n.DType())
	}
	for first := 0; first <= rows; first += max(1, rows/7) {
		for _, count := range []int{0, 1, rows - first} {
			if count > rows-first {
				continue
			}
			got := make([]byte, count*stride)
			if err := n.ReadRows(got, first, count); err != nil || !bytes.Equal(got, all[first*stride:][:count*stride]) {
				t.Fatalf("rows %d to %d differ from the file's: %v", first, first+count, err)
			}
		}
	}
	if err := n.ReadRows(make([]byte, stride), rows, 1); err == nil {
		t.Fatal("a row past the last was read")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNpy reads files of every type and version, and cuts each file at every byte. The error names the first row that
// is not whole, or says that the header is not whole.
func TestNpy(t *testing.T) {
	for version := byte(1); version <= 3; version++ {
		for descr, size := range map[string]int{"<f2": 2, "<f4": 4, "<f8": 8} {
			for _, shape := range [][2]int{{0, 3}, {1, 1}, {5, 3}, {2, 70}} {
				data := counting(shape[0] * shape[1] * size)
				b := npyFile(version, header(descr, fmt.Sprintf("(%d, %d)", shape[0], shape[1])), data)
				n, err := openNpy(t, b)
				if err != nil {
					t.Fatal(err)
				}
				if n.Rows() != shape[0] || n.Width() != shape[1] {
					t.Errorf("shape %d %d, expected %v", n.Rows(), n.Width(), shape)
				}
				checkNpy(t, n, b)
				datasettest.EachCut(b, func(at int, cut []byte) {
					_, err := openNpy(t, cut)
					row := -1
					if have := at - (len(b) - len(data)); have >= 0 {
						row = have / (shape[1] * size)
					}
					if e := datasettest.AsError(t, err, "dir/x.npy"); e.Row != row || e.Hint == "" {
						t.Fatalf("version %d, %s, %v, cut at %d: %#v, expected row %d", version, descr, shape, at, e, row)
					}
				})
				_, err = openNpy(t, append(b, 0))
				if e := datasettest.AsError(t, err, "dir/x.npy"); !strings.Contains(e.Problem, "1 bytes follow") {
					t.Errorf("a byte more: %v", err)
				}
			}
		}
	}
}

// TestNpyHeaders has headers that claim more than the file holds, or that Python does not read as one array.
func TestNpyHeaders(t *testing.T) {
	whole := counting(24)
	for text, says := range map[string]string{
		header("<f4", "(3, 2)"):                                                               "",
		"{'shape':(3,2),'descr':'<f4','fortran_order':False}":                                 "",
		header("<f4", "(2147483647, 1048576)"):                                                "cut off",
		header("<f8", "(2147483647, 2)"):                                                      "cut off",
		header("<f4", "(1152921504606846976, 2)"):                                             "too large",
		header("<f4", "(2, 1152921504606846976)"):                                             "too large",
		header("<f4", "(4611686018427387904, 4)"):                                             "too large",
		header("<f4", "(0, 1048577)"):                                                         "shape",
		header("<f4", "(0, 0)"):                                                               "two dimensions",
		header("<f4", "(6,)"):                                                                 "two dimensions",
		header("<f4", "()"):                                                                   "two dimensions",
		header("<f4", "(3, 2, 1)"):                                                            "two dimensions",
		header("<f4", "(3,, 2)"):                                                              "no plain",
		header("<f4", "(3 , -2)"):                                                             "no plain",
		header("<i4", "(3, 2)"):                                                               "float16, float32 and float64 are read",
		header("<c8", "(3, 2)"):                                                               "float16, float32 and float64 are read",
		header("", "(3, 2)"):                                                                  "float16, float32 and float64 are read",
		header("|i1", "(12, 2)"):                                                              "there is no scale beside the file",
		"{'descr': '<f8', " + header("<f4", "(3, 2)")[1:]:                                     "no plain",
		"{'descr': '<f4', 'descr': '<f4', 'shape': (3, 2)}":                                   "no plain",
		"{'descr': '<f4', 'fortran_order': False}":                                            "no plain",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), 'more': 1}":                "no plain",
		"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 2)}":                  "no plain",
		"{'x': \"'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)\"}":                  "no plain",
		"'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)":                             "no plain",
		"{'descr': '<f4' 'fortran_order': False, 'shape': (3, 2)}":                            "no plain",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)}{'descr': '<f8', 'a': 'b'}": "no plain",
	} {
		n, err := openNpy(t, npyFile(1, text, whole))
		if says == "" {
			if err != nil {
				t.Errorf("%s: %v", text, err)
			} else {
				checkNpy(t, n, npyFile(1, text, whole))
			}
			continue
		}
		if e := datasettest.AsError(t, err, "dir/x.npy"); !strings.Contains(e.Error(), says) || e.Hint == "" {
			t.Errorf("%s: %v, expected %q and a hint", text, err, says)
		}
	}
}

// TestNpyThatShrinks reads a file that is cut after it was opened.
func TestNpyThatShrinks(t *testing.T) {
	dir := t.TempDir()
	b := npyFile(1, header("<f4", "(5, 3)"), counting(60))
	if err := os.WriteFile(filepath.Join(dir, "x.npy"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := Open(os.DirFS(dir), "x.npy", "dir/x.npy", dataset.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := os.Truncate(filepath.Join(dir, "x.npy"), int64(len(b)-13)); err != nil {
		t.Fatal(err)
	}
	if e := datasettest.AsError(t, n.ReadRows(make([]byte, 48), 1, 4), "dir/x.npy"); e.Row != 3 {
		t.Errorf("%#v, expected row 3", e)
	}
}

// TestHeader writes files by HeaderOf, and reads them.
func TestHeader(t *testing.T) {
	for _, dtype := range []safetensors.DType{safetensors.F16, safetensors.F32, safetensors.F64} {
		for _, shape := range [][2]int{{0, 1}, {3, 2}, {10, 1}, {1, 12345}, {123456, 1}} {
			data := counting(shape[0] * shape[1] * dtype.Size())
			b := append(HeaderOf(dtype, shape[0], shape[1]), data...)
			if (len(b)-len(data))%64 != 0 {
				t.Errorf("%v: the rows begin at byte %d", shape, len(b)-len(data))
			}
			n, err := openNpy(t, b)
			if err != nil {
				t.Fatal(err)
			}
			if n.Rows() != shape[0] || n.Width() != shape[1] || n.DType() != dtype {
				t.Errorf("%v of %s: %d rows of %d %s", shape, dtype, n.Rows(), n.Width(), n.DType())
			}
			checkNpy(t, n, b)
		}
	}
	if !bytes.Equal(Header(3, 2), HeaderOf(safetensors.F32, 3, 2)) {
		t.Error("Header is not that of float32")
	}
}

// TestNpyOrders reads arrays of every type in either byte order, in C and in Fortran order, the latter a few rows at a time.
func TestNpyOrders(t *testing.T) {
	defer func(bytes int) { transposeBytes = bytes }(transposeBytes)
	transposeBytes = 50
	for _, descr := range []string{"<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "<V2", ">V2", "|V2"} {
		for _, fortran := range []string{"False", "True"} {
			for _, shape := range [][2]int{{1, 1}, {1, 5}, {5, 1}, {7, 3}, {3, 40}} {
				text := strings.Replace(header(descr, fmt.Sprintf("(%d, %d)", shape[0], shape[1])), "False", fortran, 1)
				b := npyFile(1, text, counting(shape[0]*shape[1]*npySizes[descr]))
				n, err := openNpy(t, b)
				if err != nil {
					t.Fatal(err)
				}
				checkNpy(t, n, b)
			}
		}
	}
}

func FuzzNpy(f *testing.F) {
	f.Add(npyFile(1, header("<f4", "(3, 2)"), counting(24)))
	f.Add(npyFile(2, header("<f2", "(1, 5)"), counting(10)))
	f.Add(npyFile(3, header("<f8", "(2147483647, 1048576)"), nil))
	f.Add(npyFile(1, strings.Replace(header(">f2", "(3, 2)"), "False", "True", 1), counting(12)))
	f.Add(npyFile(1, header("<V2", "(3, 2)"), counting(12)))
	f.Add(npyFile(1, header("|i1", "(3, 2)"), counting(6)))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := openNpy(t, b)
		if err == nil {
			checkNpy(t, n, b)
			return
		}
		e := datasettest.AsError(t, err, "dir/x.npy")
		if strings.Contains(e.Problem, "cut off") != (e.Row >= 0) {
			t.Fatalf("%#v: a row is named where the data are cut off, and only there", e)
		}
		if e.Row < 0 {
			return
		}
		descr, _, rows, width, data, _ := simpleNpy(b)
		if stride := width * npySizes[descr]; e.Row != len(data)/stride || e.Row >= rows {
			t.Fatalf("%v: %d bytes of rows of %d", err, len(data), stride)
		}
	})
}
