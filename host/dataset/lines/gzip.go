package lines

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
)

// errAfterEnd is what follows a compressed text and is none itself. gzip.Reader says of it what it says of a text that is cut
// off.
var errAfterEnd = errors.New("something that is not compressed follows the compressed text")

// unzip uncompresses texts that follow one another.
type unzip struct {
	from *bufio.Reader
	text *gzip.Reader
}

func newUnzip(from *bufio.Reader) (*unzip, error) {
	text, err := gzip.NewReader(from)
	if err == nil {
		text.Multistream(false)
	}
	return &unzip{from, text}, err
}

func (u *unzip) Read(b []byte) (n int, err error) {
	n, err = u.text.Read(b)
	if err != io.EOF {
		return n, err
	}
	start, err := u.from.Peek(1)
	switch {
	case len(start) == 0:
		return n, err
	case start[0] != 0x1f: // the first byte of each gzip file
		return n, errAfterEnd
	}
	if err := u.text.Reset(u.from); err != nil {
		return n, err
	}
	u.text.Multistream(false)
	return n, nil
}
