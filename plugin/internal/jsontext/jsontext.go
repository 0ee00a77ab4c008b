// Package jsontext reads and writes the little JSON that safetensors headers and projection metadata hold.
//
// Input: bytes of unknown origin. Output: strings and numbers, or an error with an offset. encoding/json
// would do it too, but the plugin would be half again as large; see docs/RATIONALE.md.
package jsontext

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Decoder reads one JSON text from front to back. The caller knows what should come next and asks for it.
type Decoder struct {
	text []byte
	at   int
}

// NewDecoder returns a decoder at the start of text.
func NewDecoder(text []byte) *Decoder { return &Decoder{text: text} }

// Object reads an object, calling member for each key with the decoder at its value, which member must
// read. A key given twice is an error, which comes after the object's last value.
func (d *Decoder) Object(member func(key string) error) error {
	var keys []placedKey
	err := d.list('{', '}', func() error {
		key, err := d.String()
		if err != nil {
			return err
		}
		keys = append(keys, placedKey{key, d.at})
		if err := d.expect(':'); err != nil {
			return err
		}
		return member(key)
	})
	if err != nil {
		return err
	}
	return d.distinct(keys)
}

// placedKey is a key and where it ends.
type placedKey struct {
	key string
	at  int
}

// distinct fails at the first key that is there before. It sorts, since a map takes forever over keys that were made to
// collide, and in the module the seed of its hash is known.
func (d *Decoder) distinct(keys []placedKey) error {
	slices.SortFunc(keys, func(a, b placedKey) int { return cmp.Or(strings.Compare(a.key, b.key), a.at-b.at) })
	var twice *placedKey
	for i := 1; i < len(keys); i++ {
		if keys[i].key == keys[i-1].key && (twice == nil || keys[i].at < twice.at) {
			twice = &keys[i]
		}
	}
	if twice == nil {
		return nil
	}
	d.at = twice.at
	return d.errorf("key %q is given twice", twice.key)
}

// Array reads an array, calling element with the decoder at each element, which element must read.
func (d *Decoder) Array(element func() error) error { return d.list('[', ']', element) }

func (d *Decoder) list(open, end byte, item func() error) error {
	if err := d.expect(open); err != nil {
		return err
	}
	if d.peek() == end {
		d.at++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if d.peek() == end {
			d.at++
			return nil
		}
		if err := d.expect(','); err != nil {
			return err
		}
	}
}

// Uint reads a non-negative whole number below 2^63, written without sign, fraction or exponent.
func (d *Decoder) Uint() (int64, error) {
	n, err := strconv.ParseUint(d.number(), 10, 63)
	if err != nil {
		return 0, d.errorf("not a whole number from 0 to 2^63-1")
	}
	return int64(n), nil
}

// Float reads a number as a finite float64.
func (d *Decoder) Float() (float64, error) {
	f, err := strconv.ParseFloat(d.number(), 64)
	if err != nil {
		return 0, d.errorf("not a number that fits float64")
	}
	return f, nil
}

func (d *Decoder) number() string {
	d.peek()
	start := d.at
	for d.at < len(d.text) {
		switch c := d.text[d.at]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			d.at++
			continue
		}
		break
	}
	return string(d.text[start:d.at])
}

// String reads a string.
func (d *Decoder) String() (string, error) {
	if err := d.expect('"'); err != nil {
		return "", err
	}
	var s []byte
	for d.at < len(d.text) {
		c := d.text[d.at]
		switch {
		case c == '"':
			d.at++
			if !utf8.Valid(s) {
				return "", d.errorf("string is not UTF-8")
			}
			return string(s), nil
		case c < ' ':
			return "", d.errorf("control character in a string")
		case c == '\\':
			r, err := d.escape()
			if err != nil {
				return "", err
			}
			s = utf8.AppendRune(s, r)
		default:
			s = append(s, c)
			d.at++
		}
	}
	return "", d.errorf("string does not end")
}

func (d *Decoder) escape() (rune, error) {
	if d.at+1 >= len(d.text) {
		return 0, d.errorf("escape does not end")
	}
	c := d.text[d.at+1]
	d.at += 2
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		r, err := d.hex4()
		if err != nil || !utf16.IsSurrogate(r) {
			return r, err
		}
		if d.at+1 < len(d.text) && d.text[d.at] == '\\' && d.text[d.at+1] == 'u' {
			d.at += 2
			low, err := d.hex4()
			if err != nil {
				return 0, err
			}
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, nil
			}
		}
		return 0, d.errorf("half of a surrogate pair")
	}
	return 0, d.errorf("escape \\%c is not JSON", c)
}

func (d *Decoder) hex4() (rune, error) {
	if d.at+4 > len(d.text) {
		return 0, d.errorf("escape does not end")
	}
	n, err := strconv.ParseUint(string(d.text[d.at:d.at+4]), 16, 32)
	if err != nil {
		return 0, d.errorf("escape is not four hexadecimal digits")
	}
	d.at += 4
	return rune(n), nil
}

// End checks that nothing but white space is left.
func (d *Decoder) End() error {
	if d.peek(); d.at < len(d.text) {
		return d.errorf("text goes on after its end")
	}
	return nil
}

func (d *Decoder) expect(c byte) error {
	if d.peek() != c {
		return d.errorf("expected %q", c)
	}
	d.at++
	return nil
}

// peek skips white space and returns the next byte, 0 at the end.
func (d *Decoder) peek() byte {
	for d.at < len(d.text) {
		switch c := d.text[d.at]; c {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return c
		}
	}
	return 0
}

func (d *Decoder) errorf(format string, args ...any) error {
	return errors.New("JSON at byte " + strconv.Itoa(d.at) + ": " + fmt.Sprintf(format, args...))
}

// AppendString appends s to b as a JSON string, bytes that are not UTF-8 replaced.
func AppendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// FormatFloat gives the shortest decimal that parses back to f.
func FormatFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
