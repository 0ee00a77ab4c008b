package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
)

// job is one training, or the making of a cross-encoder, as quarry_train.py reads it. Paths are relative to the comparison's folder.
type job struct {
	ID      string `json:"id"`      // the fingerprint of all else
	Kind    string `json:"kind"`    // kindTrain or kindWarmUp
	Name    string `json:"name"`    // what the TREC run is called
	Trainer string `json:"trainer"` // fingerprint of the Python sources
	Data    string `json:"data"`    // fingerprint of the texts
	Trainee string `json:"trainee"`
	Model   string `json:"model"` // a folder; empty means the environment's own
	Weights string `json:"weights,omitempty"`

	Documents  string              `json:"documents,omitempty"` // file of {"id", "text"} lines
	Queries    string              `json:"queries,omitempty"`
	Train      []trainPair         `json:"train"`
	Relevant   map[string][]string `json:"relevant,omitempty"` // to each query of the job
	Validation rankPart            `json:"validation"`
	Test       rankPart            `json:"test"`

	Margin       float64 `json:"margin"` // 0 means the rule's gap and slack
	Slack        float64 `json:"slack"`
	InBatch      bool    `json:"in_batch"`
	PerStep      int     `json:"negatives_per_step"` // of a pair; each epoch takes the next ones
	Dynamic      int     `json:"dynamic"`            // above 0: a step's negative is drawn from so many documents that are nearest to the query then
	Epochs       int     `json:"epochs"`
	Batch        int     `json:"batch"`
	MaxTokens    int     `json:"max_tokens"`
	Layers       int     `json:"layers"` // of the model, the last ones, that are trained; 0 means all
	Half         bool    `json:"half"`   // compute in bfloat16
	Validations  int     `json:"validations_per_epoch"`
	LearningRate float64 `json:"learning_rate"`
	WarmUpShare  float64 `json:"warmup_share"` // of the steps, in which the learning rate rises
	Seed         uint64  `json:"seed"`

	Pairs  string `json:"pairs,omitempty"` // of kindWarmUp: file of {"title", "text"} lines
	Count  int    `json:"count,omitempty"` // of them that are used
	Output string `json:"output,omitempty"`
	Run    string `json:"run,omitempty"` // TREC run to write
	Result string `json:"result"`
}

const (
	kindTrain  = "train"
	kindWarmUp = "warm-up"
)

// trainPair is a pair with its negatives, by ids.
type trainPair struct {
	Query     string   `json:"query"`
	Positive  string   `json:"positive"`
	Negatives []string `json:"negatives"`
}

// rankPart is queries, each with the documents that a cross-encoder ranks. A bi-encoder ranks all documents, or those of all queries.
type rankPart struct {
	Candidates   map[string][]string `json:"candidates"`
	AllDocuments bool                `json:"all_documents"`
}

// result is what a training gave.
type result struct {
	ID      string         `json:"id"`
	Margin  float64        `json:"margin"`
	Active  *float64       `json:"active_share"` // of the terms of Eq. 7, before training: those with a loss
	Best    float64        `json:"best_mrr_10"`  // validation
	Step    int            `json:"best_step"`    // 0: the untrained state
	Last    float64        `json:"last_mrr_10"`
	Ranks   map[string]int `json:"ranks"` // of the first relevant document of each test query, from 1; 0 where it is not in the first hundred
	Device  string         `json:"device"`
	Seconds float64        `json:"seconds"`
}

// seal names the job by what it says, and its outputs by its name.
func (j *job) seal() error {
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	j.ID = hex.EncodeToString(sum[:8])
	j.Result = filepath.Join("runs", j.ID+".json")
	if j.Kind == kindWarmUp {
		j.Output = filepath.Join("models", j.ID)
	} else {
		j.Run = filepath.Join("runs", j.ID+".trec")
	}
	return nil
}

// file is the job's own file.
func (j *job) file() string { return filepath.Join("jobs", j.ID+".json") }

// finished returns the job's result, or nil where there is none yet. folder is the comparison's.
func (j *job) finished(folder string) (*result, error) {
	path := filepath.Join(folder, j.Result)
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, dataset.ReadError(path, err)
	}
	var r result
	bad := func(format string, args ...any) error {
		return dataset.FileError(path, "remove it, and the run is made again", format, args...)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, bad("it is no result: %v", err)
	}
	if r.ID != j.ID {
		return nil, bad("it is the result of job %q", r.ID)
	}
	for q := range j.Test.Candidates {
		if _, there := r.Ranks[q]; !there && j.Kind == kindTrain {
			return nil, bad("it has no rank for query %q", q)
		}
	}
	return &r, nil
}

// writeJSON writes a value to a file of the comparison's folder.
func writeJSON(folder, name string, value any) error {
	return atomicfile.Write(filepath.Join(folder, name), true, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		return e.Encode(value)
	})
}

// weightsOf is the fingerprint of a folder of a model: the names and bytes of its files.
func weightsOf(folder string) (string, error) {
	if _, err := os.Stat(filepath.Join(folder, "config.json")); err != nil {
		return "", dataset.ReadError(filepath.Join(folder, "config.json"), err, "name the folder of a model that sentence-transformers or transformers saved")
	}
	sum := sha256.New()
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintln(sum, name)
		_, err = io.Copy(sum, f)
		return err
	})
	if err != nil {
		return "", dataset.ReadError(folder, err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}
