package host_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/npy"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/inspect"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/projection"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

const (
	elementSize  = 100_000 // of an element that is much too long
	longestError = 1000    // bytes
)

// longElements are put in place of each element of a file: a string, a number, and neither.
var longElements = []string{`"` + strings.Repeat("x", elementSize) + `"`, strings.Repeat("1", elementSize), strings.Repeat("x y ", elementSize/4)}

// longInputs counts the errors of a reader that were cut.
type longInputs struct {
	t   *testing.T
	cut int
}

// check fails where an error quotes a long element whole.
func (l *longInputs) check(what string, err error) {
	l.t.Helper()
	if err == nil {
		return
	}
	if n := len(err.Error()); n > longestError {
		l.t.Errorf("%s: an error of %d bytes: %.200s", what, n, err)
	}
	if strings.Contains(err.Error(), "…") {
		l.cut++
	}
}

// sayMost fails where hardly any error was cut: then the test does not reach what it is about.
func (l *longInputs) sayMost(what string, least int) {
	if l.t.Logf("%s: %d errors were cut", what, l.cut); l.cut < least {
		l.t.Errorf("%s: only %d errors were cut; expected %d", what, l.cut, least)
	}
}

// element is a string, a number or a word of JSON, or of a .npy file's header.
var element = regexp.MustCompile(`"[^"]*"|'[^']*'|-?\d[\d.eE+-]*|\b[a-zA-Z]+\b`)

// eachElement gives a text with each of its elements replaced by each of the long ones.
func eachElement(text string) (texts []string) {
	for _, at := range element.FindAllStringIndex(text, -1) {
		for _, long := range longElements {
			if text[at[0]] == '\'' {
				long = "'" + strings.Trim(long, `"`) + "'"
			}
			texts = append(texts, text[:at[0]]+long+text[at[1]:])
		}
	}
	return texts
}

// smallFolder is a sound data set of two models.
func smallFolder() fstest.MapFS {
	vectors := func(rows ...[]float32) string {
		b := npy.Header(len(rows), len(rows[0]))
		for _, row := range rows {
			b = append(b, safetensors.OfFloat32("", row).Data...)
		}
		return string(b)
	}
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"corpus.jsonl":  `{"_id":"d1","title":"a title","text":"one"}` + "\n" + `{"_id":"d2","title":"","text":"two"}` + "\n" + `{"_id":"d3","text":"three"}` + "\n",
		"queries.jsonl": `{"_id":"q1","text":"which"}` + "\n", "queries.ids": "q1\n", "docs.ids": "d1\nd2\nd3\n",
		"qrels/train.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n", "qrels/dev.tsv": "q1\td3\t0\n",
		"vectors/a/docs.npy": vectors([]float32{1, 0}, []float32{0.9, 0.3}, []float32{0, 1}), "vectors/a/queries.npy": vectors([]float32{0.8, 0.2}),
		"vectors/b/docs.npy": vectors([]float32{1, 2}, []float32{2, 1}, []float32{0, 1}), "vectors/b/queries.npy": vectors([]float32{1, 1}),
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

func with(folder fstest.MapFS, name, text string) fstest.MapFS {
	changed := maps.Clone(folder)
	changed[name] = &fstest.MapFile{Data: []byte(text)}
	return changed
}

// useFolder opens a folder, and looks at all that mining looks at before it fits.
func useFolder(folder fstest.MapFS, pairs []negatives.Pair) error {
	data, err := beir.OpenFS(folder, "folder")
	if err != nil {
		return err
	}
	for _, model := range data.Models {
		if _, err = data.Vectors(model); err != nil {
			break
		}
	}
	_, texts := negatives.TextsOf(data, pairs)
	return errors.Join(err, mining.CheckBeforeFit(data, host.FitOptions{}, host.MineOptions{}), texts, data.Close())
}

// TestLongInputs puts a long element at each place of each file that is read, one at a time. No error quotes it whole.
func TestLongInputs(t *testing.T) {
	folder := smallFolder()
	data, err := beir.OpenFS(folder, "folder")
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	fitted, err := host.Fit(t.Context(), data, host.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o := host.MineOptions{Rule: "topk"}
	o.Engine = engine.Native(engine.Options{})
	result, err := host.Mine(t.Context(), data, fitted, o)
	if err != nil || len(result.Pairs) != 1 || len(result.Pairs[0].Negatives) == 0 {
		t.Fatal(result, err)
	}

	t.Run("folder", func(t *testing.T) { longFolders(t, folder, result.Pairs) })
	t.Run("negatives", func(t *testing.T) {
		var file bytes.Buffer
		if err := negatives.NewPairEncoder(&file).Encode(result.Pairs[0]); err != nil {
			t.Fatal(err)
		}
		l := &longInputs{t: t}
		unsound := `{"query_id":"q1","positive_id":"d1","d_q_pd":0.1,"negatives":[{"id":"d2","rank":2,"d_q_d":0.1,"d_pd_d":0.1}],"none":"window"}`
		for _, text := range slices.Concat(eachElement(file.String()), eachElement(unsound), eachElement(strings.Replace(unsound, `,"none":"window"`, "", 1)), longElements) {
			pairs, err := negatives.Read(strings.NewReader(text), "negatives.jsonl")
			l.check(text[:100], err)
			if err == nil {
				l.check("use of "+text[:100], useFolder(folder, pairs))
			}
			l.inspect(text)
		}
		l.sayMost("negatives", 30)
	})
	t.Run("manifest", func(t *testing.T) {
		var file bytes.Buffer
		if err := result.Manifest.Write(&file); err != nil {
			t.Fatal(err)
		}
		l := &longInputs{t: t}
		for _, text := range append(eachElement(file.String()), longElements...) {
			path := l.inspect(text)
			m, err := negatives.LoadManifest(path)
			if l.check("a manifest", err); err == nil {
				l.check("a manifest's rule", m.CheckRule())
			}
		}
		l.sayMost("manifest", 100)
	})
	t.Run("projection", func(t *testing.T) {
		l := &longInputs{t: t}
		for _, file := range eachHeader(t, fitted.File) {
			path := l.inspect(file)
			p, err := projection.Load(path)
			if l.check("a projection", err); err == nil {
				_, err = p.Vectors(data)
				l.check("a projection's models", err)
			}
		}
		l.sayMost("projection", 40)
	})
	t.Run("part", func(t *testing.T) {
		plan, err := mining.NewPlan(t.Context(), data, fitted, o)
		if err != nil {
			t.Fatal(err)
		}
		defer plan.Close(t.Context())
		part, err := plan.MinePiece(t.Context(), plan.Pieces()[0])
		if err != nil {
			t.Fatal(err)
		}
		file, err := part.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		l := &longInputs{t: t}
		for _, file := range eachHeader(t, file) {
			l.inspect(file)
		}
		l.sayMost("part", 30)
	})
}

// inspect writes a file and inspects it. It returns the file's path.
func (l *longInputs) inspect(file string) string {
	l.t.Helper()
	path := filepath.Join(l.t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		l.t.Fatal(err)
	}
	i, err := inspect.File(l.t.Context(), path, nil)
	if l.check("inspected", err); i != nil {
		for _, problem := range i.Problems {
			l.check("a problem", errors.New(problem))
		}
	}
	return path
}

// longFolders puts long elements into the files of a folder.
func longFolders(t *testing.T, folder fstest.MapFS, pairs []negatives.Pair) {
	if err := useFolder(folder, pairs); err != nil {
		t.Fatal(err)
	}
	for name, file := range folder {
		l := &longInputs{t: t}
		texts := slices.Clone(longElements)
		switch filepath.Ext(name) {
		case ".jsonl":
			texts = append(texts, eachElement(string(file.Data))...)
			texts = append(texts, `{"_id":"`+strings.Repeat("\xff", elementSize)+`"}`)
		case ".tsv", ".ids":
			long := strings.Repeat("x", elementSize)
			for _, field := range regexp.MustCompile(`[^\t\n]+`).FindAllStringIndex(string(file.Data), -1) {
				for _, by := range []string{long, "\t" + long, long + "\t" + long} {
					texts = append(texts, string(file.Data[:field[0]])+by+string(file.Data[field[1]:]))
				}
			}
			texts = append(texts, fmt.Sprintf("%s\t%s\t1\n%s\t%s\t1\n", long, long, long, long), long+"\n"+long+"\n"+long+"\n")
		case ".npy":
			header := string(file.Data[10 : 10+int(binary.LittleEndian.Uint16(file.Data[8:]))])
			for _, text := range eachElement(header) {
				texts = append(texts, "\x93NUMPY\x02\x00"+string(binary.LittleEndian.AppendUint32(nil, uint32(len(text))))+text+string(file.Data[10+len(header):]))
			}
		}
		for _, text := range texts {
			l.check(name, useFolder(with(folder, name, text), pairs))
			if filepath.Ext(name) == ".npy" {
				l.inspect(text)
			}
		}
		least := 1
		if filepath.Ext(name) == ".ids" {
			least = 3
		}
		if filepath.Ext(name) != ".npy" || !strings.Contains(name, "docs") {
			l.sayMost(name, least)
		}
	}
}

// eachHeader gives a safetensors file with each element of its header replaced by each of the long ones, and also each
// element inside the strings that hold JSON.
func eachHeader(t *testing.T, file []byte) (files []string) {
	t.Helper()
	length := binary.LittleEndian.Uint64(file)
	header, data := string(file[8:8+length]), string(file[8+length:])
	texts := eachElement(header)
	for _, at := range regexp.MustCompile(`\\"[^"\\]*\\"`).FindAllStringIndex(header, -1) {
		texts = append(texts, header[:at[0]]+`\"`+strings.Repeat("x", elementSize)+`\"`+header[at[1]:])
	}
	for _, text := range texts {
		files = append(files, string(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))+text+data)
	}
	return files
}

// TestLongOptions gives each option that is a text a long one.
func TestLongOptions(t *testing.T) {
	data, err := beir.OpenFS(smallFolder(), "folder")
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	fitted, err := host.Fit(t.Context(), data, host.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l := &longInputs{t: t}
	long := strings.Repeat("x", elementSize)
	for _, o := range []host.FitOptions{
		{FitOn: long}, {FitOn: long, NoPCA: true}, {Zero: long}, {Models: []host.Weight{{Model: long, Weight: 1}}},
		{Models: []host.Weight{{Model: long, Weight: 1}, {Model: long, Weight: -1}}}, {FitOn: "sample:" + strings.Repeat("1", elementSize)},
	} {
		_, err := host.Fit(t.Context(), data, o)
		l.check("fit", err)
		if err == nil {
			t.Error("a fit with a long option succeeded")
		}
	}
	for _, o := range []host.MineOptions{
		{Split: long}, {Rule: long}, {Positives: long}, {Self: long}, {Zero: long}, {Missing: long}, {Parameters: map[string]float64{long: 1, "y" + long: 1}},
	} {
		_, err := host.Mine(t.Context(), data, fitted, o)
		l.check("mine", err)
		if err == nil {
			t.Error("mining with a long option succeeded")
		}
	}
	_, err = host.Transform(t.Context(), data, fitted, t.TempDir(), host.TransformOptions{Zero: long})
	l.check("transform", err)
	_, err = dataset.IDsOf("ids", long, "x", long)
	l.check("ids", err)
	l.sayMost("options", 14)
}
