package vectors_test

import (
	"bytes"
	"testing"
	"testing/fstest"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/dataset/vectors"
	"github.com/quarry-hn/quarry/host/engine"
)

// TestSameNegatives mines the matrix of testdata from every file that holds it: the negatives are the same bytes in every format.
func TestSameNegatives(t *testing.T) {
	native, err := engine.LoadNative(t.Context(), engine.WasmOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer native.Close(t.Context())
	mine := func(folder fstest.MapFS) []byte {
		data, err := beir.OpenFS(folder, "data")
		if err != nil {
			t.Fatal(err)
		}
		defer data.Close()
		p, err := host.Fit(t.Context(), data, host.FitOptions{NoCenter: true, Variance: 1, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		o := host.MineOptions{}
		o.Engine, o.Threads = native, 1
		result, err := host.Mine(t.Context(), data, p, o)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := result.WriteNegatives(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var first []byte
	for name, folder := range vectors.MinedFolders(t) {
		folder["docs.ids"] = &fstest.MapFile{Data: []byte("d0\nd1\nd2\nd3\nd4\nd5\nd6\n")}
		folder["queries.ids"] = folder["docs.ids"]
		folder["qrels/train.tsv"] = &fstest.MapFile{Data: []byte("d0\td3\t1\nd1\td5\t1\nd6\td2\t1\n")}
		got := mine(folder)
		if first == nil {
			first = got
			if n := bytes.Count(got, []byte(`"rank"`)); n < 3 {
				t.Fatalf("%s: %d negatives: %s", name, n, got)
			}
		}
		if !bytes.Equal(got, first) {
			t.Errorf("%s: %s; expected %s", name, got, first)
		}
	}
}
