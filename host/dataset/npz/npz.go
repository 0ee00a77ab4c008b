// Package npz reads an array of a .npz file, NumPy's format for several arrays, as vectors.
//
// Input: a file of numpy.savez or numpy.savez_compressed, and the name of an array where it has several; output: a
// dataset.Matrix. An array that is not compressed is read where it lies. One that is compressed is uncompressed once, to a
// temporary file. Package vectors calls it.
package npz

import (
	"archive/zip"
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

// Open opens the array of that name, or the only one where name is empty. path is what messages call the file. w stops the
// uncompressing and is told how far it is. Close the matrix after use.
func Open(fsys fs.FS, file, path, name string, w dataset.Watch) (_ dataset.Matrix, err error) {
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
	array, err := choose(path, archive.File, name)
	if err != nil {
		return nil, err
	}
	if array.Method == zip.Store {
		begin, err := array.DataOffset()
		if err != nil || array.UncompressedSize64 > uint64(max(0, f.Bytes-begin)) {
			return nil, dataset.FileError(path, "write it with numpy.savez, or copy it again", "%s is not all there", excerpt.Quote(array.Name))
		}
		size := int64(array.UncompressedSize64)
		return npy.Read(io.NewSectionReader(f, begin, size), size, path, f, w, nil)
	}
	return uncompressed(f, array, path, w)
}

// choose finds the array.
func choose(path string, files []*zip.File, name string) (*zip.File, error) {
	const hint = `name one of them as "column" in vectors.json`
	var names []string
	for _, f := range files {
		n, ok := strings.CutSuffix(f.Name, ".npy")
		if ok && (n == name || name == "" && len(files) == 1) {
			return f, nil
		}
		names = append(names, n)
	}
	slices.Sort(names)
	listed := excerpt.Text(strings.Join(names, ", "))
	if name != "" {
		return nil, dataset.FileError(path, hint, "there is no array %s; there are: %s", excerpt.Quote(name), listed)
	}
	return nil, dataset.FileError(path, hint, "there are %d arrays: %s", len(names), listed)
}

// spooled is a file that was uncompressed, and the archive that it was in.
type spooled struct {
	*npy.File
	archive io.Closer
}

func (s *spooled) Close() error { return errors.Join(s.File.Close(), s.archive.Close()) }

// uncompressed reads an array of a file that is compressed.
func uncompressed(f *flat.File, array *zip.File, path string, w dataset.Watch) (_ dataset.Matrix, err error) {
	from, err := array.Open()
	if err != nil {
		return nil, dataset.ReadError(path, err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	bytes, err := dataset.NewStoredBytes()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, bytes.Close())
		}
	}()
	buffer, done := make([]byte, 1<<20), int64(0)
	for {
		n, readErr := io.ReadFull(from, buffer)
		if err := w.Err(); err != nil {
			return nil, err
		}
		if !w.Dry || done < 2<<20 { // the header takes at most a little more than a MiB
			if _, err := bytes.Write(buffer[:n]); err != nil {
				return nil, err
			}
		}
		done += int64(n)
		w.Progress.Report("uncompress "+path, done, int64(array.UncompressedSize64))
		if readErr == io.EOF || errors.Is(readErr, io.ErrUnexpectedEOF) && uint64(done) == array.UncompressedSize64 {
			break
		}
		if readErr != nil {
			return nil, &dataset.Error{Path: path, Row: -1, Problem: "the array " + excerpt.Quote(array.Name) + " is not whole: " + readErr.Error(), Hint: "write it with numpy.savez, or copy it again", Err: readErr}
		}
	}
	file, err := npy.Read(bytes, done, path, bytes, w, nil)
	if err != nil {
		return nil, err
	}
	return &spooled{file, f}, nil
}
