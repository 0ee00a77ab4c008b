package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// ofLines reads ids that lie one in each line. A line that is "bad" is an error, and an empty one is left out.
func ofLines(text string) ReadIDs {
	return func(f func(int, []byte) error) (string, error) {
		for i, line := range strings.Split(text, "\n") {
			if line == "bad" {
				return "", errorAt("lines", i+1, 0, "", "it is bad")
			}
			if line == "" {
				continue
			}
			if err := f(i+1, []byte(line)); err != nil {
				return "", err
			}
		}
		return "sum", nil
	}
}

// lowBounds has ids go to files at once.
func lowBounds(t *testing.T) {
	bytes, hashes := idBytesInMemory, hashesInMemory
	t.Cleanup(func() { idBytesInMemory, hashesInMemory = bytes, hashes })
	idBytesInMemory, hashesInMemory = 20, 3
}

// TestMoreIDsThanMemoryHolds reads lists of ids with bounds that are far too small for them.
func TestMoreIDsThanMemoryHolds(t *testing.T) {
	lowBounds(t)
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "d%d\n\n", i)
	}
	for name, c := range map[string]struct {
		text  string
		fault int // line
		first int // line of the id that is given again
	}{
		"all differ":                 {text.String(), 0, 0},
		"the last is the first":      {text.String() + "d0\n", 401, 1},
		"two in the middle":          {strings.Replace(text.String(), "d77\n", "d93\n", 1), 187, 155},
		"three alike":                {text.String() + "d5\nd5\n", 401, 11},
		"one":                        {"d1\n", 0, 0},
		"one twice before a bad one": {text.String() + "d5\nbad\n", 401, 11},
		"a bad one before one twice": {text.String() + "bad\nd5\n", 401, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ids, err := NewIDs("lines", ofLines(c.text))
			if c.fault > 0 {
				var e *Error
				if !errors.As(err, &e) || e.Line != c.fault || c.first > 0 && !strings.HasSuffix(e.Problem, fmt.Sprintf("first in line %d", c.first)) {
					t.Errorf("%v; expected an error at line %d, of line %d", err, c.fault, c.first)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if ids.Len() > 20 && ids.file == nil {
				t.Error("all ids are in memory")
			}
			want := slices.DeleteFunc(strings.Split(c.text, "\n"), func(s string) bool { return s == "" })
			if got := slices.Collect(ids.All(&err)); err != nil || !slices.Equal(got, want) {
				t.Errorf("%q, %v; expected %q", got, err, want)
			}
			row := len(want) - 1
			if rows, err := ids.Rows(map[string]bool{want[row]: true}); err != nil || rows[want[row]] != row {
				t.Errorf("the row of %q: %v, %v", want[row], rows, err)
			}
			if of, err := ids.OfRows(map[int]bool{row: true}); err != nil || of[row] != want[row] {
				t.Errorf("the id of row %d: %v, %v", row, of, err)
			}
			for range 2 {
				if err := ids.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestIDsOf has ids of a source without lines, with contents that a line could not have.
func TestIDsOf(t *testing.T) {
	odd := []string{"a\nb", strings.Repeat("x", 300), "\xff", "c"}
	for _, low := range []bool{false, true} {
		if low {
			lowBounds(t)
		}
		ids, err := IDsOf("memory", odd...)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Collect(ids.All(&err)); err != nil || !slices.Equal(got, odd) || low != (ids.file != nil) {
			t.Errorf("%q, %v", got, err)
		}
		if err := ids.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range []struct {
			ids     []string
			row     int
			problem string
		}{{[]string{"a", "b", "a"}, 2, `id "a" is given twice, first in row 0`}, {[]string{"a", ""}, 1, "the id is empty"}, {[]string{"a", "a", ""}, 1, `id "a" is given twice, first in row 0`}} {
			var e *Error
			if _, err := IDsOf("memory", c.ids...); !errors.As(err, &e) || e.Row != c.row || e.Line != 0 || e.Problem != c.problem {
				t.Errorf("%q: %v; expected row %d, %q", c.ids, err, c.row, c.problem)
			}
		}
	}
}

// TestCheckSame compares ids of two sources, with their rows at other lines.
func TestCheckSame(t *testing.T) {
	ids, err := NewIDs("first", ofLines("a\nb\nc"))
	if err != nil {
		t.Fatal(err)
	}
	for text, c := range map[string]struct {
		line    int
		problem string
	}{"\na\n\nb\nc\n": {}, "\na\n\nc\nb": {4, `id "c"; first has "b" there`}, "a\nb": {0, "2 ids; first has 3"}} {
		others, err := NewIDs("second", ofLines(text))
		if err != nil {
			t.Fatal(err)
		}
		err = ids.CheckSame(others)
		var e *Error
		if c.problem == "" && err != nil || c.problem != "" && (!errors.As(err, &e) || e.Path != "second" || e.Line != c.line || e.Problem != c.problem || e.Hint == "") {
			t.Errorf("%q: %v; expected line %d, %q", text, err, c.line, c.problem)
		}
	}
}

// TestMatrixInMemory refuses rows of several widths.
func TestMatrixInMemory(t *testing.T) {
	for row, rows := range map[int][][]float32{0: {{}}, 1: {{1, 2}, {3}}, 2: {{1}, {2}, {3, 4}}} {
		var e *Error
		if _, err := NewMatrix("memory", rows); !errors.As(err, &e) || e.Row != row {
			t.Errorf("%v: %v; expected an error in row %d", rows, err, row)
		}
	}
	none, err := NewMatrix("memory", nil)
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := none.SHA256(); err != nil || len(sum) != 64 || bytes.Contains([]byte(sum), []byte(" ")) {
		t.Errorf("of no rows: %q, %v", sum, err)
	}
}
