package beir

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/datasettest"
	"github.com/quarry-hn/quarry/host/dataset/lines"
)

// good is the fault of a simple reading that finds none. Other faults are the number of the line at fault, or 0 for the
// file as a whole.
const good = -1

// simpleIDs reads ids as the README describes them: one in each line, in UTF-8, none twice, and at least one.
func simpleIDs(data []byte, id func(text string) (string, bool)) (ids []string, fault int) {
	for _, l := range simpleLines(data) {
		s, ok := id(l.text)
		if !ok || s == "" || !utf8.ValidString(l.text) || slices.Contains(ids, s) {
			return nil, l.number
		}
		ids = append(ids, s)
	}
	if len(ids) == 0 {
		return nil, 0
	}
	return ids, good
}

func wholeLine(text string) (string, bool) { return text, true }

// stringsAndNaN finds strings, and what Python's json writes for floats that JSON does not have.
var stringsAndNaN = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?Infinity|NaN`)

// simpleText reads one JSON object key by key. The last of each name counts, and null is as if it were not there. An id may
// be a number, and stand under id where there is no _id.
func simpleText(text string) (t dataset.Text, ok bool) {
	if !json.Valid([]byte(text)) {
		text = stringsAndNaN.ReplaceAllStringFunc(text, func(found string) string {
			if found[0] == '"' {
				return found
			}
			return "null"
		})
	}
	if !json.Valid([]byte(text)) {
		return t, false
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return t, false
	}
	members := map[string]any{}
	for d.More() {
		key, _ := d.Token()
		var value any
		if d.Decode(&value) != nil {
			return t, false
		}
		members[key.(string)] = value
		if _, isText := value.(string); (key == "title" || key == "text") && value != nil && !isText {
			return t, false
		}
	}
	id := members["_id"]
	if other := members["id"]; (id == nil || id == "") && (other != nil && other != "") {
		id = other
	}
	switch id := id.(type) {
	case string:
		t.ID = id
	case json.Number:
		t.ID = id.String()
	}
	t.Title, _ = members["title"].(string)
	t.Text, _ = members["text"].(string)
	return t, t.ID != ""
}

func simpleTextID(text string) (string, bool) {
	t, ok := simpleText(text)
	return t.ID, ok
}

// checkIDs compares ids that were read, or the error, with the simple reading.
func checkIDs(t testing.TB, ids *dataset.StoredIDs, err error, path string, data []byte, id func(string) (string, bool)) {
	t.Helper()
	want, fault := simpleIDs(data, id)
	if fault != good {
		if e := datasettest.AsError(t, err, path); e.Line != fault {
			t.Fatalf("%v: expected an error at line %d", err, fault)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v; expected %q", err, want)
	}
	sum := sha256.Sum256(data)
	if got, err := ids.SHA256(); err != nil || got != hex.EncodeToString(sum[:]) || ids.Name() != path {
		t.Fatalf("%s has the fingerprint %s, %v; expected %x of %s", ids.Name(), got, err, sum, path)
	}
	datasettest.CheckIDs(t, ids, want)
}

// A file is read twice where an id is given twice, each time with buffers of 128 KiB, 32 KiB that are read ahead, and some 45 KiB to
// decompress it.
const readBuffers = 1<<18 + 1<<17 + 2*(32<<10)

func readPlain(t testing.TB, data []byte) (ids *dataset.StoredIDs, err error) {
	t.Helper()
	datasettest.Allocates(t, 32*len(data)+readBuffers, func() { ids, err = oneFile("docs.ids", data).readIDs("docs.ids", nil, plainID) })
	return ids, err
}

func readTexts(t testing.TB, name string, file []byte, uncompressed int) (ids *dataset.StoredIDs, err error) {
	t.Helper()
	datasettest.Allocates(t, 64*uncompressed+readBuffers, func() { ids, err = oneFile(name, file).readIDs(name, nil, textsFile{}.id) })
	return ids, err
}

// zip compresses data in pieces, so that a cut may also fall between two of them.
func zip(t testing.TB, data []byte, piece int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for ; len(data) > 0; data = data[min(piece, len(data)):] {
		if _, err := w.Write(data[:min(piece, len(data))]); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const someTexts = "{\"_id\":7.50,\"score\":-Infinity,\"text\":\"NaN\"}\n{\"id\":\"d0\",\"title\":NaN}\n{\"_id\":\"d1\",\"title\":\"é\",\"text\":\"one\"}\n\n{\"_id\":\"d2\",\"text\":\"two\\u00e9\"}\r\n{\"_id\":\"d3\"}\n"

const someIDs = "\xef\xbb\xbfd1\r\n\nd2é\n d3 \nd\r4\r\r\n"

// TestTextsCutAnywhere cuts files at every byte. A plain file of texts that is cut within a line fails at that line.
// One that is cut between lines is a sound file of fewer texts: only the vectors, which have more rows, show it. The
// same holds for a file of ids, unless the cut is within a character. A compressed file says how long it is, so that
// every cut fails, at the line where the text ends.
func TestTextsCutAnywhere(t *testing.T) {
	datasettest.EachCut([]byte(someTexts), func(n int, cut []byte) {
		ids, err := readTexts(t, "corpus.jsonl", cut, n)
		checkIDs(t, ids, err, "dir/corpus.jsonl", cut, simpleTextID)
		if within := n > 0 && !strings.HasSuffix(strings.TrimRight(string(cut), "\r\n"), "}"); within && err == nil {
			t.Fatalf("cut at %d, within a line: no error", n)
		}
	})
	datasettest.EachCut([]byte(someIDs), func(n int, cut []byte) {
		ids, err := readPlain(t, cut)
		checkIDs(t, ids, err, "dir/docs.ids", cut, wholeLine)
		if !utf8.Valid(cut) && err == nil {
			t.Fatalf("cut at %d, within a character: no error", n)
		}
	})
	for _, piece := range []int{1, 7, 1000} {
		datasettest.EachCut(zip(t, []byte(someTexts), piece), func(n int, cut []byte) {
			_, err := readTexts(t, "corpus.jsonl.gz", cut, 1000)
			line := 0
			if r, err := gzip.NewReader(bytes.NewReader(cut)); err == nil {
				text, _ := io.ReadAll(r)
				line = 1 + bytes.Count(text, []byte("\n"))
			}
			if e := datasettest.AsError(t, err, "dir/corpus.jsonl.gz"); e.Line != line || e.Hint == "" || line > 0 && !strings.Contains(e.Problem, "cut off") {
				t.Fatalf("pieces of %d, cut at %d: %#v, expected line %d", piece, n, e, line)
			}
		})
	}
}

// TestCompressedTwice reads compressed files that follow one another. What follows them and is not compressed is an error that says so.
func TestCompressedTwice(t *testing.T) {
	t.Parallel()
	const first, second = `{"_id":"a"}`, "\n" + `{"_id":"b"}` + "\n"
	both := append(zip(t, []byte(first), 3), zip(t, []byte(second), 5)...)
	for end, says := range map[string]string{"": "", "x": "follows", "some more": "follows", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00": "follows", string(both[:1]): "cut off", string(both[:9]): "cut off", string(both[:20]): "cut off"} {
		ids, err := oneFile("corpus.jsonl.gz", append(slices.Clip(both), end...)).readIDs("corpus.jsonl.gz", nil, textsFile{}.id)
		if says == "" {
			checkIDs(t, ids, err, "dir/corpus.jsonl.gz", []byte(first+second), simpleTextID)
		} else if e := datasettest.AsError(t, err, "dir/corpus.jsonl.gz"); !strings.Contains(e.Problem, says) || e.Line != 3 || e.Hint == "" {
			t.Errorf("%q after the end: %v; expected %q", end, err, says)
		}
	}
}

func FuzzIDs(f *testing.F) {
	f.Add([]byte(someIDs))
	f.Add([]byte("a\nb\na\n"))
	f.Add([]byte("a\n\xff\n"))
	f.Add([]byte("a\n\xef\xbb\xbfb\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ids, err := readPlain(t, data)
		checkIDs(t, ids, err, "dir/docs.ids", data, wholeLine)
	})
}

// FuzzTexts reads data as texts, plain and compressed, and as a compressed file.
func FuzzTexts(f *testing.F) {
	f.Add([]byte(someTexts))
	f.Add([]byte(`{"_id":"a","_ID":"b","ID":7,"text":"t","Text":["x"],"TITLE":"no","title":"x","title":null}`))
	f.Add([]byte("{\"_id\":\"a\",\"_id\":null,\"TITLE\":\"x\"}\n{\"_id\":\"b\",\"text\":1}"))
	f.Add([]byte(`{"_id":1,"id":{},"x":[NaN,"\\"NaN"]}` + "\n" + `{"_id":"","id":-2e3}` + "\n" + `{"_id":true,"id":"a"}`))
	f.Add(zip(f, []byte(someTexts), 9))
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, file := range map[string][]byte{"corpus.jsonl": data, "corpus.jsonl.gz": zip(t, data, 1+len(data)/3)} {
			ids, err := readTexts(t, name, file, len(data))
			checkIDs(t, ids, err, "dir/"+name, data, simpleTextID)
			if err == nil {
				checkTexts(t, &textFile{oneFile(name, file), name, ids, textsFile{}.parse}, ids, data)
			}
		}
		text, whole := []byte(nil), false
		if r, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			text, err = io.ReadAll(io.LimitReader(r, 1<<24))
			whole = err == nil && len(text) < 1<<24
		}
		ids, err := readTexts(t, "corpus.jsonl.gz", data, 1<<26)
		switch {
		case whole:
			checkIDs(t, ids, err, "dir/corpus.jsonl.gz", text, simpleTextID)
		default:
			datasettest.AsError(t, err, "dir/corpus.jsonl.gz")
		}
	})
}

// checkTexts asks for every other text, and compares each with the simple reading.
func checkTexts(t testing.TB, from dataset.Texts, ids *dataset.StoredIDs, data []byte) {
	t.Helper()
	wanted := map[string]bool{}
	for i, id := range datasettest.List(t, ids) {
		if i%2 == 0 {
			wanted[id] = true
		}
	}
	texts, err := from.OfIDs(wanted)
	if err != nil || len(texts) != len(wanted) {
		t.Fatalf("%d texts, %v; expected %d", len(texts), err, len(wanted))
	}
	for _, l := range simpleLines(data) {
		if want, _ := simpleText(l.text); wanted[want.ID] && texts[want.ID] != want {
			t.Fatalf("text %q; expected %q", texts[want.ID], want)
		}
	}
}

// TestTextsThatAreNotWanted: an id takes no memory for the texts beside it, and of a file that is read again, only the
// lines of the ids that are asked for are decoded, up to the last of them.
func TestTextsThatAreNotWanted(t *testing.T) {
	line := []byte(`{"_id":"d1","title":"` + strings.Repeat("t", 1<<20) + `","text":"` + strings.Repeat("x", 1<<20) + `"}`)
	datasettest.Allocates(t, 1<<16, func() {
		if id, err := (textsFile{}).id(&lines.Reader{}, line); string(id) != "d1" || err != nil {
			t.Errorf("%q, %v", id, err)
		}
	})
	const file = `{"_id":"a","text":"A"}` + "\n" + `{"_id":"b","text":"B"}` + "\n\n" + `{"_id":"c","text":"C"}` + "\n" + `{"_id":"d","text":"D"}`
	for name, content := range map[string]string{"corpus.jsonl": file, "corpus.jsonl.gz": string(zip(t, []byte(file), 9))} {
		f := oneFile(name, []byte(content))
		ids, err := f.readIDs(name, nil, textsFile{}.id)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(strings.Replace(file, `{"_id":"b"`, `{"_id`, 1), `"_id":"d"`, "\xff", 1)
		if strings.HasSuffix(name, ".gz") {
			changed = string(zip(t, []byte(changed), 9))
		}
		f.fsys = oneFile(name, []byte(changed)).fsys
		texts, err := (&textFile{f, name, ids, textsFile{}.parse}).OfIDs(map[string]bool{"a": true, "c": true, "z": true})
		if err != nil || len(texts) != 2 || texts["a"].Text != "A" || texts["c"].Text != "C" {
			t.Errorf("%s: %v, %v", name, texts, err)
		}
		if _, err := (&textFile{f, name, ids, textsFile{}.parse}).OfIDs(map[string]bool{"b": true}); err == nil {
			t.Errorf("%s: line 2 has another id by now, and is given", name)
		}
	}
}

// TestTextsThatAreNone: an error says of the member what it is, and speaks of no type of Go.
func TestTextsThatAreNone(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		`{"_id":"a","text":["x"]}`: `member "text" is an array`, `{"_id":"a","title":5}`: `member "title" is a number`, `[{"_id":"a"}]`: "it is an array", `{"_id":{"$oid":"a"}}`: "_id is an object",
		`{"_ID":"a"}`: "no _id", `{"_id":"a"`: "unexpected EOF", `{"_id":"a"}{}`: "after top-level value",
	} {
		_, err := oneFile("corpus.jsonl", []byte(line)).readIDs("corpus.jsonl", nil, textsFile{}.id)
		if e := datasettest.AsError(t, err, "dir/corpus.jsonl"); !strings.Contains(e.Problem, says) || strings.Contains(e.Problem, "Go") || strings.Contains(e.Problem, "jsontext") || e.Line != 1 || e.Hint != textHint {
			t.Errorf("%s: %v; expected %q", line, e, says)
		}
	}
}

// TestSource reads metadata as corpora have it. What has no source that is a string gives none, and is no error.
func TestSource(t *testing.T) {
	fsys := fstest.MapFS{
		"corpus.jsonl": {Data: []byte(`{"_id":"d1","text":"","metadata":{"source":"page.md#1","other":[1]}}
{"_id":"d2","text":"","metadata":{"source":7}}
{"_id":"d3","text":"","metadata":"page.md#1"}
{"_id":"d4","text":"","metadata":null}
{"_id":"d5","text":""}
`)}}
	f := &folder{fsys: fsys, root: "folder"}
	ids, err := f.readIDs("corpus.jsonl", nil, textsFile{}.id)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := (&textFile{f, "corpus.jsonl", ids, textsFile{}.parse}).OfIDs(map[string]bool{"d1": true, "d2": true, "d3": true, "d4": true, "d5": true})
	if err != nil || len(texts) != 5 {
		t.Fatalf("%v %v", texts, err)
	}
	for id, text := range texts {
		if want := map[string]string{"d1": "page.md#1"}[id]; text.Source.Place != want {
			t.Errorf("%s: %q, expected %q", id, text.Source.Place, want)
		}
	}
	again, err := json.Marshal(texts["d1"])
	if want := `{"_id":"d1","title":"","text":"","metadata":{"source":"page.md#1"}}`; err != nil || string(again) != want {
		t.Errorf("%s %v", again, err)
	}
	if plain, err := json.Marshal(texts["d5"]); err != nil || strings.Contains(string(plain), "metadata") {
		t.Errorf("%s %v", plain, err)
	}
}
