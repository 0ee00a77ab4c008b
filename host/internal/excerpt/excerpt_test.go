package excerpt

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestQuote(t *testing.T) {
	for _, s := range []string{"", "a b", "tab\t\"quoted\"", "日本", "\xff", strings.Repeat("x", 100), strings.Repeat("\x00", 100)} {
		if got, want := Quote(s), fmt.Sprintf("%q", s); got != want || Quote([]byte(s)) != want {
			t.Errorf("%s, expected %s", got, want)
		}
	}
	for s, want := range map[string]string{
		strings.Repeat("x", 101):       `"` + strings.Repeat("x", 100) + `…" (101 bytes)`,
		strings.Repeat("x", 5<<20):     `"` + strings.Repeat("x", 100) + `…" (5242880 bytes)`,
		"xx" + strings.Repeat("日", 99): `"xx` + strings.Repeat("日", 32) + `…" (299 bytes)`,
		strings.Repeat("\xff", 200):    `"` + strings.Repeat(`\xff`, 100) + `…" (200 bytes)`,
		strings.Repeat("\xbf", 200):    `"` + strings.Repeat(`\xbf`, 100) + `…" (200 bytes)`,
	} {
		if got := Quote(s); got != want {
			t.Errorf("%s, expected %s", got, want)
		}
	}
}

func TestText(t *testing.T) {
	long := "begins " + strings.Repeat("日", 1000) + " ends"
	for _, s := range []string{"", "short", strings.Repeat("x", 300), strings.Repeat("many\nlines\n", 500)} {
		if got := Text(s); got != s {
			t.Errorf("%q, expected %q", got, s)
		}
	}
	got := Text("first\n" + long + "\nlast")
	lines := strings.Split(got, "\n")
	if len(lines) != 3 || lines[0] != "first" || lines[2] != "last" || len(lines[1]) > 320 || !strings.HasPrefix(lines[1], "begins 日") ||
		!strings.HasSuffix(lines[1], "日 ends") || !strings.Contains(lines[1], " … (3012 bytes in all) … ") || !utf8.ValidString(got) {
		t.Errorf("%s", got)
	}
	if got := Text(strings.Repeat("\xff", 5000)); len(got) > 320 {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestError(t *testing.T) {
	for _, text := range []string{"short", strings.Repeat("x", 5000)} {
		err := Error(fmt.Errorf("%s: %w", text, fs.ErrNotExist))
		if !errors.Is(err, fs.ErrNotExist) || len(err.Error()) > 330 || !strings.Contains(err.Error(), "file does not exist") {
			t.Errorf("%v", err)
		}
	}
	if Error(nil) != nil {
		t.Error("no error became one")
	}
}
