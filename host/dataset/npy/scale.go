package npy

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/flat"
)

// The endings of the files beside a file of integers that say what they stand for.
const (
	ScaleEnding  = ".scale.npy"
	RangesEnding = ".ranges.npy"
)

var scaleEndings = []string{ScaleEnding, RangesEnding}

// ScaleOf reads the scale of a file of integers, of a file beside it; of other values it is nil, and such a file is an error.
// docs.scale.npy has one number, or one for each column, or one for each row as a column of them: a value is the integer times
// that. docs.ranges.npy has two rows, the least and the greatest value of each column, as sentence-transformers'
// quantize_embeddings was given them: the values are what it cut into 255 steps.
func ScaleOf(fsys fs.FS, name, path string, l flat.Layout) (*flat.Scale, error) {
	if !l.Type.Scaled() {
		return nil, CheckNoScale(fsys, name, path)
	}
	base, pathBase := withoutEnding(name, path)
	for _, ending := range scaleEndings {
		if _, err := fs.Stat(fsys, base+ending); err != nil {
			continue
		}
		read := readScale
		if ending == RangesEnding {
			read = readRanges
		}
		return read(fsys, base+ending, pathBase+ending, l)
	}
	return nil, dataset.FileError(path, "save "+pathBase+ScaleEnding+" (one number, or one for each column or row), or "+pathBase+RangesEnding+
		" (the ranges that quantize_embeddings was given); numpy.float32(1) is the scale of values that are meant as they are",
		"values are %s, and there is no scale beside the file", l.Type)
}

// CheckNoScale fails where a scale lies beside a file whose values have none.
func CheckNoScale(fsys fs.FS, name, path string) error {
	base, pathBase := withoutEnding(name, path)
	for _, ending := range scaleEndings {
		if _, err := fs.Stat(fsys, base+ending); err == nil {
			return dataset.FileError(pathBase+ending, "remove it, or save the int8 or uint8 that it is for by numpy.save", "%s holds no integers that have a scale", path)
		}
	}
	return nil
}

// withoutEnding is the name of a file without its ending, and what messages call it without that.
func withoutEnding(name, path string) (base, pathBase string) {
	if dot := strings.LastIndexByte(name, '.'); dot > strings.LastIndexByte(name, '/') {
		return name[:dot], strings.TrimSuffix(path, name[dot:])
	}
	return name, path
}

func readScale(fsys fs.FS, name, path string, l flat.Layout) (*flat.Scale, error) {
	values, shape, err := small(fsys, name, path)
	if err != nil {
		return nil, err
	}
	switch n := len(values); {
	case len(shape) == 2 && shape[1] == 1 && n == l.Rows && n > 1:
		return &flat.Scale{Rows: values}, nil
	case n == 1 || n == l.Width:
		return &flat.Scale{Factor: values}, nil
	case n == l.Rows:
		return &flat.Scale{Rows: values}, nil
	}
	return nil, dataset.FileError(path, "save one number, or one for each column or row", "%d numbers, for %d rows of %d columns", len(values), l.Rows, l.Width)
}

func readRanges(fsys fs.FS, name, path string, l flat.Layout) (*flat.Scale, error) {
	values, shape, err := small(fsys, name, path)
	if err != nil {
		return nil, err
	}
	if len(shape) != 2 || shape[0] != 2 || shape[1] != l.Width {
		return nil, dataset.FileError(path, "save the least and the greatest value of each column: numpy.vstack((x.min(axis=0), x.max(axis=0)))",
			"shape %v; expected (2, %d)", shape, l.Width)
	}
	s := &flat.Scale{Offset: values[:l.Width], Factor: make([]float64, l.Width)}
	if l.Type == flat.I8 {
		s.Zero = -128
	}
	for i, most := range values[l.Width:] { // in float32, as sentence-transformers has it
		if step := (float32(most) - float32(values[i])) / 255; step != 0 {
			s.Factor[i] = float64(step)
		} else {
			s.Factor[i] = 1
		}
	}
	return s, nil
}

// small reads an array of floats of up to two dimensions as a whole.
func small(fsys fs.FS, name, path string) (values []float64, shape []int, err error) {
	file, err := flat.OpenFile(fsys, name, path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	text, offset, err := headerText(file, file.Bytes, path, nil)
	if err != nil {
		return nil, nil, err
	}
	h, shape, err := parseEntries(path, text)
	if err != nil {
		return nil, nil, err
	}
	n := int64(1)
	for _, side := range shape {
		if n *= int64(side); n > 1<<31 {
			break
		}
	}
	size := int64(h.ValueBytes())
	if h.fortran && len(shape) > 1 || h.BigEndian || h.Type != flat.F32 && h.Type != flat.F64 || len(shape) > 2 || n < 1 || n*size != file.Bytes-offset {
		return nil, nil, dataset.FileError(path, "save it with numpy.save as float32", "it is no array of float32 or float64 of up to two dimensions, in C order")
	}
	b := make([]byte, n*size)
	if _, err := file.ReadAt(b, offset); err != nil && err != io.EOF {
		return nil, nil, dataset.ReadError(path, err)
	}
	for ; len(b) > 0; b = b[size:] {
		var v float64
		if h.Type == flat.F32 {
			v = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		} else {
			v = math.Float64frombits(binary.LittleEndian.Uint64(b))
		}
		if v-v != 0 {
			return nil, nil, dataset.FileError(path, "save finite numbers", "a number is not finite")
		}
		values = append(values, v)
	}
	return values, shape, nil
}
