// Package lines reads text files line by line, compressed with gzip or not, and JSON as other programs write it in lines.
//
// Input: a file of texts, ids or judgements. Output: its lines, one after the other, and the fingerprint of its
// uncompressed bytes; or a *dataset.Error that names file and line. Packages of layouts call it.
package lines

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/quarry-hn/quarry/host/dataset"
)

// File is a text file. One whose name ends in .gz is compressed.
type File struct {
	FS   fs.FS
	Name string // in FS
	Path string // what messages call the file
}

// Reader is at a line of a text file.
type Reader struct {
	// Number is that of the line, from 1.
	Number int

	path    string // what messages call the file
	file    fs.File
	ahead   *readAhead // uncompresses the file; nil where it is not compressed
	scanner *bufio.Scanner
	sum     hash.Hash // nil where nobody asks for the fingerprint
	ended   bool      // the last line that was read ended with a newline, not where the reading ended
}

// byteOrderMark is how some programs of Windows begin a text.
var byteOrderMark = []byte("\xef\xbb\xbf")

// maxLine is the longest line that is read: a document of 64 MiB.
const maxLine = 64 << 20

// open opens the file. sum, which may be nil, is given its uncompressed bytes as they are read.
func (f File) open(sum hash.Hash) (*Reader, error) {
	file, err := f.FS.Open(f.Name)
	if err != nil {
		return nil, dataset.ReadError(f.Path, err)
	}
	l := &Reader{path: f.Path, file: file, sum: sum}
	buffered := bufio.NewReaderSize(file, 1<<16)
	var r io.Reader = buffered
	if strings.HasSuffix(f.Name, ".gz") {
		text, err := newUnzip(buffered)
		if err != nil {
			return nil, errors.Join(dataset.FileError(f.Path, "compress it again with gzip", "not a gzip file: %v", err), file.Close())
		}
		l.ahead = newReadAhead(text)
		r = l.ahead
	}
	if sum != nil {
		r = io.TeeReader(r, sum)
	}
	l.scanner = bufio.NewScanner(r)
	l.scanner.Buffer(make([]byte, 1<<16), maxLine)
	l.scanner.Split(func(data []byte, atEOF bool) (advance int, line []byte, err error) {
		advance, line, err = bufio.ScanLines(data, atEOF)
		l.ended = advance > 0 && data[advance-1] == '\n'
		return advance, line, err
	})
	return l, nil
}

// next returns the next line that is not empty, without its end, and nil after the last. It is valid until the next
// call.
func (l *Reader) next() ([]byte, error) {
	// Where reading failed, the lines before are whole, and the scanner gives the rest as if it were one more: that is
	// left out.
	for l.scanner.Scan() && (l.ended || l.scanner.Err() == nil) {
		l.Number++
		line := bytes.TrimSuffix(l.scanner.Bytes(), []byte("\r"))
		if l.Number == 1 {
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		if len(line) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return nil, l.Errorf("write the file as UTF-8", "not UTF-8: %.80q", notUTF8(line))
		}
		return line, nil
	}
	switch err := l.scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		l.Number++
		return nil, l.Errorf("", "longer than %d bytes", maxLine)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &dataset.Error{Path: l.path, Line: l.Number + 1, Row: -1, Problem: "the compressed file is cut off", Hint: "copy it again, or compress it again with gzip", Err: err}
	case err != nil:
		return nil, &dataset.Error{Path: l.path, Line: l.Number + 1, Row: -1, Problem: err.Error(), Hint: "check that it is a file, and whole; compress it again if it is a .gz", Err: err}
	}
	return nil, nil
}

// notUTF8 is the first byte of a line that is not UTF-8, with up to 20 bytes before it.
func notUTF8(line []byte) []byte {
	at := 0
	for at < len(line) {
		r, n := utf8.DecodeRune(line[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return line[max(0, at-20):min(len(line), at+1)]
}

// Errorf is an error at the last line that was read.
func (l *Reader) Errorf(hint, format string, args ...any) error {
	return &dataset.Error{Path: l.path, Line: l.Number, Row: -1, Problem: fmt.Sprintf(format, args...), Hint: hint}
}

func (l *Reader) close() error {
	if l.ahead != nil {
		l.ahead.close()
	}
	return l.file.Close()
}

// Read calls do for each line of the file that is not empty, and returns the fingerprint of the file's uncompressed
// bytes.
func (f File) Read(do func(l *Reader, line []byte) error) (fingerprint string, err error) {
	sum := sha256.New()
	if err := f.Each(sum, do); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// ErrEnough ends Each before the last line, and is no error.
var ErrEnough = errors.New("the lines that were wanted have been read")

// Each calls do for each line of the file that is not empty, until do fails. A line is valid only during the call. sum,
// which may be nil, is given the file's uncompressed bytes.
func (f File) Each(sum hash.Hash, do func(l *Reader, line []byte) error) (err error) {
	l, err := f.open(sum)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	for {
		line, err := l.next()
		if err != nil || line == nil {
			return err
		}
		if err := do(l, line); err == ErrEnough {
			return nil
		} else if err != nil {
			return err
		}
	}
}
