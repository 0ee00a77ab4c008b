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
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// types are the values that are read, by NumPy's names.
var types = map[string]safetensors.DType{"<f2": safetensors.F16, "<f4": safetensors.F32, "<f8": safetensors.F64}

// Header is the start of a .npy file, format version 1.0, of float32 in C order: the rows follow it, each value little
// endian.
func Header(rows, columns int) []byte {
	text := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, columns)
	for (10+len(text)+1)%64 != 0 { // so that the rows begin at a multiple of 64 bytes
		text += " "
	}
	text += "\n"
	return append([]byte{0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, byte(len(text)), byte(len(text) >> 8)}, text...)
}

// readHeader returns the header's text and sets the offset of the first row. size is the file's.
func (f *File) readHeader(size int64, hints []string) (string, error) {
	bad := func(format string, args ...any) error {
		return dataset.FileError(f.path, "write it with numpy.save", "not a .npy file: "+format, args...)
	}
	start := make([]byte, min(size, 12))
	if _, err := f.at.ReadAt(start, 0); err != nil && err != io.EOF {
		return "", dataset.ReadError(f.path, err, hints...)
	}
	if size == 0 {
		return "", bad("it is empty")
	}
	if len(start) < 12 || !bytes.HasPrefix(start, []byte("\x93NUMPY")) {
		return "", bad("it does not begin as one")
	}
	length, begin := int64(binary.LittleEndian.Uint16(start[8:])), int64(10)
	switch start[6] {
	case 1:
	case 2, 3:
		length, begin = int64(binary.LittleEndian.Uint32(start[8:])), 12
	default:
		return "", bad("format version %d is unknown", start[6])
	}
	f.offset = begin + length
	if f.offset > size || length > 1<<20 {
		return "", bad("header of %d bytes in a file of %d", length, size)
	}
	header := make([]byte, length)
	if _, err := f.at.ReadAt(header, begin); err != nil && err != io.EOF {
		return "", dataset.ReadError(f.path, err)
	}
	return string(header), nil
}

// item is one entry of a header, which has three of them, each once, in any order.
const item = `'(descr|fortran_order|shape)'\s*:\s*(?:'([^']*)'|(True|False)|\(((?:\d+(?:\s*,\s*\d+)*\s*,?)?)\s*\))`

var (
	items       = regexp.MustCompile(item)
	wholeHeader = regexp.MustCompile(`^\s*\{\s*(?:` + item + `\s*,\s*){2}` + item + `\s*,?\s*\}\s*$`)
)

// parseHeader reads a header's text.
func parseHeader(path, header string) (s shape, err error) {
	bad := func(hint, format string, args ...any) (shape, error) {
		return shape{}, dataset.FileError(path, hint, format, args...)
	}
	entries := map[string][]string{}
	for _, entry := range items.FindAllStringSubmatch(header, -1) {
		entries[entry[1]] = entry[2:]
	}
	if len(entries) != 3 || !wholeHeader.MatchString(header) || entries["fortran_order"][1] == "" {
		return bad("write it with numpy.save, as one array of floats", "header %.100q has no plain descr, fortran_order and shape", header)
	}
	descr, fortran, sides := entries["descr"][0], entries["fortran_order"][1], entries["shape"][2]
	var ok bool
	if s.dtype, ok = types[descr]; !ok {
		return bad("convert it: numpy.save(path, numpy.load(path).astype('<f4'))", "values are %s; float16, float32 and float64, little endian, are read", excerpt.Quote(descr))
	}
	if fortran == "True" {
		return bad("convert it: numpy.save(path, numpy.ascontiguousarray(numpy.load(path)))", "the array is in Fortran order")
	}
	var dims []int
	for _, field := range strings.Split(sides, ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		dim, err := strconv.Atoi(field)
		if err != nil || dim > abi.MaxRows { // rows and columns within it cannot overflow a size
			return bad("the largest is 2^31-1 rows: write the file again with numpy.save", "shape (%s) is too large", excerpt.Text(sides))
		}
		dims = append(dims, dim)
	}
	if len(dims) != 2 || dims[1] < 1 || dims[1] > 1<<20 {
		return bad("one row a text: numpy.save(path, array.reshape(rows, -1))", "shape (%s); expected two dimensions, rows and columns", excerpt.Text(sides))
	}
	s.rows, s.width = dims[0], dims[1]
	return s, nil
}
