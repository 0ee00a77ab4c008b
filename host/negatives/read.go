package negatives

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

const readHint = "give a file that quarry mine wrote"

// Read reads a negatives.jsonl file and checks each line. name is for errors.
func Read(r io.Reader, name string) ([]Pair, error) {
	var pairs []Pair
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 64<<20)
	for line := 1; scanner.Scan(); line++ {
		var p pairRead
		d := json.NewDecoder(strings.NewReader(scanner.Text()))
		d.DisallowUnknownFields()
		bad := func(format string, args ...any) error {
			return &dataset.Error{Path: name, Line: line, Row: -1, Problem: fmt.Sprintf(format, args...), Hint: readHint}
		}
		if err := d.Decode(&p); err != nil {
			return nil, bad("not a pair with negatives: %v", excerpt.Error(err))
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, bad("the line goes on after the object")
		}
		pair := p.pair()
		if problem := pair.unsound(); problem != "" {
			return nil, bad("%s", problem)
		}
		pairs = append(pairs, pair)
	}
	if err := scanner.Err(); err != nil {
		return nil, &dataset.Error{Path: name, Line: len(pairs) + 1, Row: -1, Problem: err.Error(), Err: err}
	}
	return pairs, nil
}

// pairRead is a Pair that may lack distances.
type pairRead struct {
	Pair
	DQPD      *float64       `json:"d_q_pd"`
	Negatives []negativeRead `json:"negatives"`
}

type negativeRead struct {
	Negative
	DQD *float64 `json:"d_q_d"`
}

func (p *pairRead) pair() Pair {
	pair := p.Pair
	pair.Negatives = []Negative{}
	distance := func(d *float64) float64 {
		if d == nil {
			pair.Unmeasured = true
			return 0
		}
		return *d
	}
	pair.DQPD = distance(p.DQPD)
	for _, n := range p.Negatives {
		n.Negative.DQD = distance(n.DQD)
		pair.Negatives = append(pair.Negatives, n.Negative)
	}
	return pair
}

// unsound says what is wrong with a pair that was read; it is empty where nothing is.
func (p *Pair) unsound() string {
	switch {
	case p.QueryID == "" || p.PositiveID == "":
		return "query_id or positive_id is missing"
	case len(p.Negatives) == 0 && p.None != NoneWindow && p.None != NoneEq6:
		return fmt.Sprintf("no negatives, and none is %s; expected %q or %q", excerpt.Quote(p.None), NoneWindow, NoneEq6)
	case len(p.Negatives) > 0 && p.None != "":
		return fmt.Sprintf("there are negatives, and none is %s", excerpt.Quote(p.None))
	}
	for i, n := range p.Negatives {
		if n.ID == "" || n.Rank != i+1 {
			return fmt.Sprintf("negative %d has id %s and rank %d", i+1, excerpt.Quote(n.ID), n.Rank)
		}
		if i > 0 && n.DQD < p.Negatives[i-1].DQD {
			return fmt.Sprintf("negative %d is nearer to the query than the one before it", i+1)
		}
	}
	return ""
}

// Load reads a negatives.jsonl file.
func Load(path string) ([]Pair, error) {
	pairs, _, err := LoadSum(path)
	return pairs, err
}

// LoadSum is Load, and gives the SHA-256 of the file too, in hexadecimal.
func LoadSum(path string) (pairs []Pair, sum string, err error) {
	f, err := dataset.OpenFile(path, readHint, readHint+"; a data folder comes after it")
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	if pairs, err = Read(io.TeeReader(f, hash), path); err != nil {
		return nil, "", err
	}
	return pairs, hex.EncodeToString(hash.Sum(nil)), nil
}

// LoadManifest reads a manifest that stands beside negatives. One that is missing is fs.ErrNotExist.
func LoadManifest(path string) (*Manifest, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, dataset.ReadError(path, err)
	}
	return ParseManifest(file, path)
}

// ParseManifest reads the bytes of a manifest. path is what messages call it.
func ParseManifest(file []byte, path string) (*Manifest, error) {
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(file))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil || m.Format != ManifestFormat {
		return nil, &dataset.Error{Path: path, Row: -1, Problem: fmt.Sprintf("not a manifest of format %q (%v)", ManifestFormat, excerpt.Error(err))}
	}
	return &m, nil
}
