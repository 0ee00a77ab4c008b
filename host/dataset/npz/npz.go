// Package npz reads an array of a .npz file, NumPy's format for several arrays, as vectors.
//
// Input: a file of numpy.savez or numpy.savez_compressed, and the name of an array where it has several; output: a
// dataset.Matrix. An array that is not compressed is read where it lies, after its checksum was compared. One that is compressed is
// uncompressed once, to a temporary file. Package vectors calls it.
package npz

import (
	"archive/zip"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/flat"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Open opens the array of that name; where name is empty, that with the model's name, or the only one. path is what messages call
// the file. w stops the uncompressing, or the comparing of the checksum, and is told how far it is. Close the matrix after use.
func Open(fsys fs.FS, file, path, name, model string, w dataset.Watch) (_ dataset.Matrix, err error) {
	f, err := flat.OpenFile(fsys, file, path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	archive, err := zip.NewReader(f, f.Bytes)
	if err != nil {
		return nil, &dataset.Error{Path: path, Row: -1, Problem: "not a whole .npz file: " + excerpt.Text(err.Error()), Hint: "write it with numpy.savez, or copy it again", Err: err}
	}
	array, err := choose(path, archive.File, name, model)
	if err != nil {
		return nil, err
	}
	if array.Method == zip.Store {
		begin, err := array.DataOffset()
		if err != nil || array.UncompressedSize64 > uint64(max(0, f.Bytes-begin)) {
			return nil, dataset.FileError(path, "write it with numpy.savez, or copy it again", "%s is not all there", excerpt.Quote(array.Name))
		}
		if _, err := read(array, path, "check", io.Discard, w); err != nil {
			return nil, err
		}
		size := int64(array.UncompressedSize64)
		return npy.Read(io.NewSectionReader(f, begin, size), size, path, f, w, nil)
	}
	return uncompressed(f, array, path, w)
}

// choose finds the array.
func choose(path string, files []*zip.File, name, model string) (*zip.File, error) {
	const hint = `name one of them as "column" in vectors.json`
	var names []string
	for _, f := range files {
		n, ok := strings.CutSuffix(f.Name, ".npy")
		if ok && (n == cmp.Or(name, model) || name == "" && len(files) == 1) {
			return f, nil
		}
		names = append(names, n)
	}
	slices.Sort(names)
	listed := excerpt.Text(strings.Join(names, ", "))
	if name != "" {
		return nil, dataset.FileError(path, hint, "there is no array %s; there are: %s", excerpt.Quote(name), listed)
	}
	return nil, dataset.FileError(path, hint, "there are %d arrays, and none has the model's name: %s", len(names), listed)
}

// spooled is a file that was uncompressed, and the archive that it was in.
type spooled struct {
	*npy.File
	archive io.Closer
}

func (s *spooled) Close() error { return errors.Join(s.File.Close(), s.archive.Close()) }

// uncompressed reads an array of a file that is compressed.
func uncompressed(f *flat.File, array *zip.File, path string, w dataset.Watch) (_ dataset.Matrix, err error) {
	bytes, err := dataset.NewStoredBytes()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, bytes.Close())
		}
	}()
	var to io.Writer = bytes
	if w.Dry {
		to = &head{bytes, 2 << 20} // the header takes at most a little more than a MiB
	}
	size, err := read(array, path, "uncompress", to, w)
	if err != nil {
		return nil, err
	}
	file, err := npy.Read(bytes, size, path, bytes, w, nil)
	if err != nil {
		return nil, err
	}
	return &spooled{file, f}, nil
}

// head passes on the first bytes that are written, and drops the rest.
type head struct {
	to   io.Writer
	left int
}

func (h *head) Write(b []byte) (int, error) {
	n, err := h.to.Write(b[:min(len(b), h.left)])
	h.left -= n
	if err != nil {
		return n, err
	}
	return len(b), nil
}

// read writes the bytes of an array, of which there are size, and fails where they have not the checksum that the archive says.
func read(array *zip.File, path, stage string, to io.Writer, w dataset.Watch) (size int64, err error) {
	from, err := array.Open()
	if err != nil {
		return 0, dataset.ReadError(path, err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	buffer := make([]byte, 1<<20)
	for {
		n, readErr := io.ReadFull(from, buffer)
		if err := w.Err(); err != nil {
			return 0, err
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return 0, err
		}
		size += int64(n)
		w.Progress.Report(stage+" "+path, size, int64(array.UncompressedSize64))
		if readErr == io.EOF || errors.Is(readErr, io.ErrUnexpectedEOF) && uint64(size) == array.UncompressedSize64 {
			return size, nil
		}
		if readErr != nil {
			return 0, &dataset.Error{Path: path, Row: -1, Problem: "the array " + excerpt.Quote(array.Name) + " is not whole: " + readErr.Error(), Hint: "write it with numpy.savez, or copy it again", Err: readErr}
		}
	}
}
