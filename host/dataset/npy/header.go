package npy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/flat"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// descriptions are the values that are read, by NumPy's names without the byte order. ml_dtypes saves bfloat16 as V2,
// values of two bytes that NumPy has no name for.
var descriptions = map[string]flat.Type{"f2": flat.F16, "f4": flat.F32, "f8": flat.F64, "V2": flat.BF16, "i1": flat.I8, "u1": flat.U8}

// Header is the start of a .npy file, format version 1.0, of float32 in C order: the rows follow it, each value little
// endian.
func Header(rows, columns int) []byte { return HeaderOf(safetensors.F32, rows, columns) }

// HeaderOf is Header for values of float16, float32 or float64.
func HeaderOf(t safetensors.DType, rows, columns int) []byte {
	text := fmt.Sprintf("{'descr': '<f%d', 'fortran_order': False, 'shape': (%d, %d), }", t.Size(), rows, columns)
	for (10+len(text)+1)%64 != 0 { // so that the rows begin at a multiple of 64 bytes
		text += " "
	}
	text += "\n"
	return append([]byte{0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, byte(len(text)), byte(len(text) >> 8)}, text...)
}

// fileHeader is what a file says of its array.
type fileHeader struct {
	flat.Layout
	fortran bool
}

// readHeader reads the header of a file of size bytes.
func readHeader(at io.ReaderAt, size int64, path string, hints []string) (fileHeader, error) {
	text, offset, err := headerText(at, size, path, hints)
	if err != nil {
		return fileHeader{}, err
	}
	h, err := parseHeader(path, text)
	h.Offset = offset
	return h, err
}

// headerText returns the header's text, and where the first row begins.
func headerText(at io.ReaderAt, size int64, path string, hints []string) (text string, offset int64, err error) {
	bad := func(format string, args ...any) (string, int64, error) {
		return "", 0, dataset.FileError(path, "write it with numpy.save", "not a .npy file: "+format, args...)
	}
	start := make([]byte, min(size, 12))
	if _, err := at.ReadAt(start, 0); err != nil && err != io.EOF {
		return "", 0, dataset.ReadError(path, err, hints...)
	}
	if size == 0 {
		return bad("it is empty")
	}
	if len(start) < 12 || !bytes.HasPrefix(start, []byte("\x93NUMPY")) {
		return bad("it does not begin as one")
	}
	length, begin := int64(binary.LittleEndian.Uint16(start[8:])), int64(10)
	switch start[6] {
	case 1:
	case 2, 3:
		length, begin = int64(binary.LittleEndian.Uint32(start[8:])), 12
	default:
		return bad("format version %d is unknown", start[6])
	}
	if begin+length > size || length > 1<<20 {
		return bad("header of %d bytes in a file of %d", length, size)
	}
	header := make([]byte, length)
	if _, err := at.ReadAt(header, begin); err != nil && err != io.EOF {
		return "", 0, dataset.ReadError(path, err)
	}
	return string(header), begin + length, nil
}

// item is one entry of a header, which has three of them, each once, in any order.
const item = `'(descr|fortran_order|shape)'\s*:\s*(?:'([^']*)'|(True|False)|\(((?:\d+(?:\s*,\s*\d+)*\s*,?)?)\s*\))`

var (
	items       = regexp.MustCompile(item)
	wholeHeader = regexp.MustCompile(`^\s*\{\s*(?:` + item + `\s*,\s*){2}` + item + `\s*,?\s*\}\s*$`)
)

// parseHeader reads the header's text of a matrix.
func parseHeader(path, text string) (fileHeader, error) {
	h, shape, err := parseEntries(path, text)
	if err != nil {
		return fileHeader{}, err
	}
	if len(shape) != 2 || shape[1] < 1 || shape[1] > 1<<20 {
		return fileHeader{}, dataset.FileError(path, "one row a text: numpy.save(path, array.reshape(rows, -1))", "shape %s; expected two dimensions, rows and columns", sides(shape))
	}
	h.Rows, h.Width = shape[0], shape[1]
	return h, nil
}

// sides is a shape as Python writes it.
func sides(shape []int) string {
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", ", "), "[]")
	if len(shape) == 1 {
		text += ","
	}
	return "(" + text + ")"
}

// parseEntries reads the header's text of an array of any shape.
func parseEntries(path, text string) (h fileHeader, shape []int, err error) {
	bad := func(hint, format string, args ...any) (fileHeader, []int, error) {
		return fileHeader{}, nil, dataset.FileError(path, hint, format, args...)
	}
	entries := map[string][]string{}
	for _, entry := range items.FindAllStringSubmatch(text, -1) {
		entries[entry[1]] = entry[2:]
	}
	if len(entries) != 3 || !wholeHeader.MatchString(text) || entries["fortran_order"][1] == "" {
		return bad("write it with numpy.save, as one array of floats", "header %.100q has no plain descr, fortran_order and shape", text)
	}
	descr := entries["descr"][0]
	var ok bool
	if len(descr) > 0 && strings.Contains("<>|", descr[:1]) {
		h.Type, ok = descriptions[descr[1:]]
		h.BigEndian = descr[0] == '>'
	}
	if !ok {
		return bad("convert it: numpy.save(path, numpy.load(path).astype('<f4'))",
			"values are %s; float16, float32 and float64 are read, bfloat16, and int8 with a scale", excerpt.Quote(descr))
	}
	h.fortran = entries["fortran_order"][1] == "True"
	list := entries["shape"][2]
	for _, field := range strings.Split(list, ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		side, err := strconv.Atoi(field)
		if err != nil || side > abi.MaxRows { // rows and columns within it cannot overflow a size
			return bad("the largest is 2^31-1 rows: write the file again with numpy.save", "shape (%s) is too large", excerpt.Text(list))
		}
		shape = append(shape, side)
	}
	return h, shape, nil
}
