package beir

import (
	"bufio"
	"bytes"
	"compress/gzip"
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

// lineReader reads the lines of a text file, compressed or not, and fingerprints its uncompressed bytes if it is asked to.
type lineReader struct {
	path    string // what messages call the file
	file    fs.File
	ahead   *readAhead // uncompresses the file; nil where it is not compressed
	scanner *bufio.Scanner
	sum     hash.Hash // nil where nobody asks for the fingerprint
	line    int       // number of the last line that was read, from 1
	ended   bool      // that line ended with a newline, not where the reading ended
}

// maxLine is the longest line that is read: a document of 64 MiB.
const maxLine = 64 << 20

// openLines opens a text file. sum, which may be nil, is given its uncompressed bytes as they are read.
func (f *folder) openLines(name string, sum hash.Hash) (*lineReader, error) {
	path := f.path(name)
	file, err := f.fsys.Open(name)
	if err != nil {
		return nil, dataset.ReadError(path, err)
	}
	l := &lineReader{path: path, file: file, sum: sum}
	var r io.Reader = bufio.NewReaderSize(file, 1<<16)
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, errors.Join(dataset.FileError(path, "compress it again with gzip", "not a gzip file: %v", err), file.Close())
		}
		l.ahead = newReadAhead(r)
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
func (l *lineReader) next() ([]byte, error) {
	// Where reading failed, the lines before are whole, and the scanner gives the rest as if it were one more: that is
	// left out.
	for l.scanner.Scan() && (l.ended || l.scanner.Err() == nil) {
		l.line++
		line := bytes.TrimSuffix(l.scanner.Bytes(), []byte("\r"))
		if l.line == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // a byte order mark
		}
		if len(line) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return nil, l.errorf("write the file as UTF-8", "not UTF-8: %.80q", notUTF8(line))
		}
		return line, nil
	}
	switch err := l.scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		l.line++
		return nil, l.errorf("", "longer than %d bytes", maxLine)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &dataset.Error{Path: l.path, Line: l.line + 1, Row: -1, Problem: "the compressed file is cut off", Hint: "copy it again, or compress it again with gzip", Err: err}
	case err != nil:
		return nil, &dataset.Error{Path: l.path, Line: l.line + 1, Row: -1, Problem: err.Error(), Hint: "check that it is a file, and whole; compress it again if it is a .gz", Err: err}
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

// errorf is an error at the last line that was read.
func (l *lineReader) errorf(hint, format string, args ...any) error {
	return &dataset.Error{Path: l.path, Line: l.line, Row: -1, Problem: fmt.Sprintf(format, args...), Hint: hint}
}

func (l *lineReader) close() error {
	if l.ahead != nil {
		l.ahead.close()
	}
	return l.file.Close()
}

// readLines calls do for each line of a text file that is not empty, and returns the fingerprint of the file's
// uncompressed bytes.
func (f *folder) readLines(name string, do func(l *lineReader, line []byte) error) (fingerprint string, err error) {
	sum := sha256.New()
	if err := f.eachLine(name, sum, do); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// errEnough ends eachLine before the last line, and is no error.
var errEnough = errors.New("the lines that were wanted have been read")

// eachLine calls do for each line of a text file that is not empty, until do fails. sum may be nil.
func (f *folder) eachLine(name string, sum hash.Hash, do func(l *lineReader, line []byte) error) (err error) {
	l, err := f.openLines(name, sum)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	for {
		line, err := l.next()
		if err != nil || line == nil {
			return err
		}
		if err := do(l, line); err == errEnough {
			return nil
		} else if err != nil {
			return err
		}
	}
}
