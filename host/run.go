package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/pca"
)

// Run is mining from a folder to files: fit, where no projection is given, mine, and write.
type Run struct {
	Projection *Projection // nil to fit one
	Fit        FitOptions  // where it is fitted
	Mine       MineOptions
	Outputs    Outputs

	// Resume goes on with what an earlier run left, or starts where there is nothing. Without it a run that was cut short must be
	// removed first, with Outputs.Force.
	Resume bool
}

// Done is what a run gave.
type Done struct {
	*Result
	Projection *Projection
	Parts      int  // that the job was cut into
	Reused     int  // parts that an earlier run had finished
	Finished   bool // an earlier run had finished everything; nothing was done, and there is no Result
}

// Kept is the error of a run that was cut short and keeps what it had finished in Folder: the same run with Resume goes on from there.
type Kept struct {
	Folder string
	error
}

// Unwrap returns the cause.
func (k *Kept) Unwrap() error { return k.error }

// Do makes the run. Where a job has several parts, or with Resume, each part is kept beside the output as soon as it is finished, until all
// outputs are written.
func (r Run) Do(ctx context.Context, folder *dataset.Dataset) (done *Done, err error) {
	if err := errors.Join(r.Mine.Validate(), r.Fit.Validate()); err != nil {
		return nil, err
	}
	w, err := openWork(r.Outputs, r.Resume)
	if err != nil {
		return nil, err
	}
	finished := w == nil && r.Resume && r.finished()
	if w == nil && !finished {
		if err := r.Outputs.Check(); err != nil {
			return nil, err
		}
	}
	p, err := r.projection(ctx, folder, w, finished)
	if err != nil {
		return nil, err
	}
	debug.FreeOSMemory() // what reading and fitting took is given back before the plugin's instances take theirs
	j, err := NewJob(ctx, folder, p, r.Mine)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.Close(ctx)) }()
	if finished {
		m, err := loadManifest(r.Outputs.Manifest)
		if err != nil {
			return nil, err
		}
		if err := sameValues(r.Outputs.Manifest, flat(m), flat(&j.manifest)); err != nil {
			return nil, err
		}
		return &Done{Projection: p, Finished: true}, nil
	}
	pieces := j.Pieces()
	if w != nil {
		if pieces, err = w.join(j); err != nil {
			return nil, err
		}
	} else if r.Resume || len(pieces) > 1 {
		if w, err = startWork(r.Outputs, j, p); err != nil {
			return nil, err
		}
	}
	if done, err = r.mine(ctx, j, p, w, pieces); err != nil && w != nil {
		err = &Kept{w.folder, err}
	}
	return done, err
}

// mine mines the pieces that are not there yet, and writes the outputs.
func (r Run) mine(ctx context.Context, j *Job, p *Projection, w *work, pieces []Piece) (*Done, error) {
	done := &Done{Projection: p, Parts: len(pieces)}
	parts := make([]*mine.Part, len(j.groups)) // of each group, merged
	for _, piece := range pieces {
		part, err := w.load(j, piece)
		if err != nil {
			return nil, err
		}
		if part != nil {
			done.Reused++
			j.count(piece.End - piece.First)
		} else {
			if part, err = j.Part(ctx, piece); err != nil {
				return nil, err
			}
			if err := w.save(piece, part); err != nil {
				return nil, err
			}
		}
		if err := j.add(parts, part); err != nil {
			return nil, err
		}
	}
	var err error
	if done.Result, err = j.Result(parts...); err != nil {
		return nil, err
	}
	r.Mine.Progress.report("write", 0, 1)
	outputs := r.Outputs
	outputs.Force = outputs.Force || w != nil // they were not there, or could be replaced, when the work began
	if w != nil {
		outputs.temporary = w.folder
	}
	if err := done.Save(p, outputs); err != nil {
		return nil, err
	}
	return done, w.remove()
}

// finished reports whether all outputs are there.
func (r Run) finished() bool {
	return !slices.ContainsFunc(r.Outputs.Paths(), func(path string) bool {
		_, err := os.Stat(path)
		return err != nil
	})
}

// projection is the one given, the one that an earlier run fitted, or a new one.
func (r Run) projection(ctx context.Context, folder *dataset.Dataset, w *work, finished bool) (*Projection, error) {
	switch {
	case r.Projection != nil:
		return r.Projection, nil
	case w != nil:
		return r.fitted(folder, filepath.Join(w.folder, workProjectionFile))
	case finished:
		return r.fitted(folder, r.Outputs.Projection)
	}
	if err := CheckPairs(folder, r.Mine); err != nil { // a job does too, but after what may be a long fit
		return nil, err
	}
	return Fit(ctx, folder, r.Fit)
}

// fitted is the projection that an earlier run fitted, with the same options.
func (r Run) fitted(folder *dataset.Dataset, path string) (*Projection, error) {
	p, err := LoadProjection(path)
	if err != nil {
		return nil, err
	}
	o, err := r.Fit.withDefaults()
	if err != nil {
		return nil, err
	}
	there, now := map[string]string{}, map[string]string{}
	flatten(there, "fit", settingsOf(p.Projection))
	flatten(now, "fit", settingsOf(o.projection(folder)))
	return p, sameValues(path, there, now)
}

// fitSettings are the options of a fit that a projection keeps.
type fitSettings struct {
	Models            []Weight
	Normalize, Center bool
	PCA, FitOn        string
	Seed              uint64
}

func settingsOf(p *pca.Projection) fitSettings {
	s := fitSettings{Normalize: p.Normalize, Center: p.Center, PCA: p.PCA, FitOn: p.FitOn, Seed: p.Seed}
	for _, m := range p.Models {
		s.Models = append(s.Models, Weight{m.Name, m.Weight})
	}
	return s
}

// sameValues fails where what is there is not of the run that is asked for, and says what differs.
func sameValues(path string, there, now map[string]string) error {
	keys := maps.Clone(there)
	maps.Copy(keys, now)
	var differ []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if there[key] != now[key] {
			differ = append(differ, fmt.Sprintf("%s is %s and was %s", key, orNone(now[key]), orNone(there[key])))
		}
	}
	if differ == nil {
		return nil
	}
	return fmt.Errorf("%s %w, of another run: %s\n  hint: give the same inputs and options, or start anew with --force and without --resume",
		path, ErrExists, strings.Join(differ, "; "))
}

func orNone(s string) string {
	if s == "" {
		return "not there"
	}
	return s
}

// flat is a manifest's values by their paths, tallies and negatives aside.
func flat(m *Manifest) map[string]string {
	own := *m
	own.Tallies, own.Negatives = Tallies{}, ""
	values := map[string]string{}
	flatten(values, "", &own)
	return values
}

// flatten adds the JSON values of v, by path.
func flatten(to map[string]string, path string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain values
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(b, &object) != nil {
		to[path] = string(b)
		return
	}
	for key, value := range object {
		if path != "" {
			key = path + "." + key
		}
		flatten(to, key, value)
	}
}
