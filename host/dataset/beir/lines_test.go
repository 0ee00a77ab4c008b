package beir

import (
	"bytes"
	"strings"
	"testing/fstest"
)

// oneFile is a folder of one file, which messages call dir.
func oneFile(name string, data []byte) *folder {
	return &folder{fstest.MapFS{name: &fstest.MapFile{Data: data}}, "dir"}
}

// line is a line of a text file, which is not empty.
type line struct {
	number int
	text   string
}

// simpleLines splits a text into lines. A line ends with a newline, and one or two CR before it are left out: a file
// that was converted twice has two. Empty lines are left out, and so is a byte order mark.
func simpleLines(data []byte) (lines []line) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for i, text := range strings.Split(string(data), "\n") {
		if text = strings.TrimSuffix(strings.TrimSuffix(text, "\r"), "\r"); text != "" {
			lines = append(lines, line{i + 1, text})
		}
	}
	return lines
}
