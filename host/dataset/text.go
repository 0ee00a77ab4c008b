package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"
)

// lineReader reads the lines of a text file, compressed or not, and fingerprints its uncompressed bytes.
type lineReader struct {
	path    string
	file    fs.File
	scanner *bufio.Scanner
	sum     hash.Hash
	line    int
	ended   bool // the line ended with a newline, not with what could be read
}

// maxLine is the longest line that is read: a document of 64 MiB.
const maxLine = 64 << 20

func openLines(fsys fs.FS, name, path string) (*lineReader, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, ReadError(path, err)
	}
	var r io.Reader = bufio.NewReaderSize(f, 1<<16)
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, errors.Join(fileError(path, "compress it again with gzip", "not a gzip file: %v", err), f.Close())
		}
	}
	l := &lineReader{path: path, file: f, sum: sha256.New()}
	l.scanner = bufio.NewScanner(io.TeeReader(r, l.sum))
	l.scanner.Buffer(make([]byte, 1<<16), maxLine)
	l.scanner.Split(func(data []byte, atEOF bool) (advance int, line []byte, err error) {
		advance, line, err = bufio.ScanLines(data, atEOF)
		l.ended = advance > 0 && data[advance-1] == '\n'
		return advance, line, err
	})
	return l, nil
}

// next returns the next line that is not empty, nil at the end.
func (l *lineReader) next() ([]byte, error) {
	// Where reading failed, the lines before it are whole; what is left of the last is no line.
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
		return nil, &Error{Path: l.path, Line: l.line + 1, Row: -1, Problem: "the compressed file is cut off", Hint: "copy it again, or compress it again with gzip", Err: err}
	case err != nil:
		return nil, &Error{Path: l.path, Line: l.line + 1, Row: -1, Problem: err.Error(), Hint: "check that it is a file, and whole; compress it again if it is a .gz", Err: err}
	}
	return nil, nil
}

// notUTF8 is what is not UTF-8 in a line, and what comes shortly before.
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

func (l *lineReader) errorf(hint, format string, args ...any) error {
	return &Error{Path: l.path, Line: l.line, Row: -1, Problem: fmt.Sprintf(format, args...), Hint: hint}
}

func (l *lineReader) fingerprint() string { return hex.EncodeToString(l.sum.Sum(nil)) }

func (l *lineReader) close() error { return l.file.Close() }

// Text is one line of a corpus or query file.
type Text struct {
	ID    string `json:"_id"`
	Title string `json:"title"`
	Text  string `json:"text"`
}

func (l *lineReader) parseText(line []byte) (t Text, err error) {
	if err := json.Unmarshal(line, &t); err != nil {
		return t, l.errorf(`one object a line: {"_id":"d1","title":"...","text":"..."}`, "not a JSON object with text fields: %v", err)
	}
	if t.ID == "" {
		return t, l.errorf(`one object a line: {"_id":"d1","title":"...","text":"..."}`, "no _id")
	}
	return t, nil
}

// eachLine calls f for each line of a text file and returns the file's fingerprint.
func eachLine(fsys fs.FS, name, path string, f func(l *lineReader, line []byte) error) (sha256 string, err error) {
	l, err := openLines(fsys, name, path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	for {
		line, err := l.next()
		if err != nil {
			return "", err
		}
		if line == nil {
			return l.fingerprint(), nil
		}
		if err := f(l, line); err != nil {
			return "", err
		}
	}
}

func textID(l *lineReader, line []byte) ([]byte, error) {
	t, err := l.parseText(line)
	return []byte(t.ID), err
}

func plainID(_ *lineReader, line []byte) ([]byte, error) { return line, nil }
