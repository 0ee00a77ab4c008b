// Package excerpt shortens what errors quote of their inputs.
//
// Input: text of any length, such as an id, a line of a file, or what a parser said about it. Output: the same text where
// it is short, or else its beginning and its length. All rooms of host call it where they quote an input.
package excerpt

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxQuote = 100 // bytes of what is quoted
	maxLine  = 300 // bytes of a line of another's text
)

// Quote is %q of an input. Of one with more than 100 bytes it is the beginning, followed by the length:
// "aaaa…" (5242880 bytes).
func Quote[T ~string | ~[]byte](input T) string {
	if len(input) <= maxQuote {
		return strconv.Quote(string(input))
	}
	quoted := strconv.Quote(string(input[:runeStart(input[:maxQuote+1], maxQuote)]))
	return fmt.Sprintf("%s…\" (%d bytes)", quoted[:len(quoted)-1], len(input))
}

// Text is text that somebody else made of an input, such as a parser's error. Of a line with more than 300 bytes it
// leaves out the middle.
func Text(text string) string { return Lines(text, maxLine) }

// Lines is Text for lines of another length, in bytes.
func Lines(text string, most int) string {
	if len(text) <= most {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if len(line) > most {
			end := runeStart(line, len(line)-most/4)
			lines[i] = fmt.Sprintf("%s … (%d bytes in all) … %s", line[:runeStart(line, most/2)], len(line), line[end:])
		}
	}
	return strings.Join(lines, "\n")
}

// Error is an error whose text is Text of err's. errors.Is and errors.As find what they find in err.
func Error(err error) error {
	if err == nil || len(err.Error()) <= maxLine {
		return err
	}
	return shortened{err}
}

type shortened struct{ error }

func (s shortened) Error() string { return Text(s.error.Error()) }
func (s shortened) Unwrap() error { return s.error }

// runeStart is the last place up to at where a character begins.
func runeStart[T ~string | ~[]byte](text T, at int) int {
	for back := 0; back < utf8.UTFMax && at-back > 0; back++ {
		if utf8.RuneStart(text[at-back]) {
			return at - back
		}
	}
	return at // it is not UTF-8
}
