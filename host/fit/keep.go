package fit

import (
	"encoding/json"
	"fmt"
	"runtime"
	"time"
)

// Keep is a file in which a fit keeps what it has done, so that a fit of the same rows with the same options goes on
// from there, to the same bits. It is for one fit. A nil *Keep keeps nothing.
//
// A fit by the covariance keeps 8 bytes times the square of the columns: 34 MB for 2,048, and 254 MB for 5,632. A fit by
// passes keeps 8 bytes times the columns of the rows times those of the subspace: 100 MB for 12,800 by 976. While one file replaces
// another there are two of them. The caller removes the file.
type Keep struct {
	// File is the path. Its folder has to be there, unless Prepare makes it.
	File string
	// Of is a fingerprint of the rows, and of the options that decide the result. Package projection fills it in.
	Of string
	// Resume goes on from what File has of the same fit, and keeps the result however soon it is there. Where File
	// has anything else, or is damaged, the fit starts from nothing; without Resume it always does.
	Resume bool
	// Rows is how many rows are added up before the sums are kept, in whole blocks. 0 means half a minute's work, and
	// more where the file takes long to write.
	Rows int
	// Prepare is called before File is written for the first time; may be nil.
	Prepare func() error

	kept     bool // File has what this fit has done
	prepared bool
	rows     int           // added up since the sums were kept last
	last     time.Time     // when that was, or when the fit began
	took     time.Duration // to write them
}

// keepFormat names what the file has, and the arithmetic that its numbers come from: a change of either takes another
// name.
const keepFormat = "quarry.fit.v3"

// keepAfter is how long a fit works before it keeps its sums. It works 20 times as long as the file took to write,
// where that is longer.
const keepAfter = 30 * time.Second

// The stages of a fit, of which the file has the last that was kept.
const (
	stageCovariance = "covariance"
	stageSubspace   = "subspace"
	stageResult     = "result"
)

// Kept reports whether File has what the fit has done that this Keep was given to.
func (k *Keep) Kept() bool { return k != nil && k.kept }

// at reports whether File says that it is at that stage of this fit.
func (k *Keep) at(stage string) bool {
	if k == nil || !k.Resume {
		return false
	}
	f, err := openState(k.File)
	if err != nil {
		return false
	}
	defer f.close()
	return k.owns(f) && f.content.Metadata["stage"] == stage
}

// Has reports whether File says that it is of the fit that Of names. Only the fit itself looks whether the file is sound.
func (k *Keep) Has() bool {
	f, err := openState(k.File)
	if err != nil {
		return false
	}
	defer f.close()
	return k.owns(f)
}

// owns reports whether a file says that it is of this fit.
func (k *Keep) owns(f *stateFile) bool {
	for key, value := range k.metadata() {
		if f.content.Metadata[key] != value {
			return false
		}
	}
	return true
}

// metadata says which fit a file is of. A fit has other bits on another architecture.
func (k *Keep) metadata() map[string]string {
	return map[string]string{"format": keepFormat, "arch": runtime.GOARCH, "of": k.Of}
}

// begin says that the fit begins.
func (k *Keep) begin() {
	if k != nil {
		k.last = time.Now()
	}
}

// added says that rows were added to the sums.
func (k *Keep) added(rows int) {
	if k != nil {
		k.rows += rows
	}
}

// due reports whether enough was done since the sums were kept last.
func (k *Keep) due() bool {
	switch {
	case k == nil:
		return false
	case k.Rows > 0:
		return k.rows >= k.Rows
	}
	return time.Since(k.last) >= max(keepAfter, 20*k.took)
}

// save replaces the file: numbers, which become JSON, and matrices.
func (k *Keep) save(stage string, numbers any, m matrices) error {
	began := time.Now()
	if k.Prepare != nil && !k.prepared {
		if err := k.Prepare(); err != nil {
			return err
		}
	}
	k.prepared = true
	text, err := json.Marshal(numbers)
	if err != nil {
		return fmt.Errorf("keep the fit in %s: %w", k.File, err)
	}
	metadata := k.metadata()
	metadata["stage"], metadata["numbers"] = stage, string(text)
	if err := writeState(k.File, metadata, m); err != nil {
		return err
	}
	k.kept, k.rows, k.last = true, 0, time.Now()
	k.took = k.last.Sub(began)
	return nil
}

// load reads what the file has of this fit, where it is at that stage: numbers first, and then the matrices that into
// wants filled in, which may depend on them. into reports false where the numbers make no sense. load reports whether
// all was there and sound; where it was not, numbers and matrices hold anything.
func (k *Keep) load(stage string, numbers any, into func(f *stateFile) (matrices, bool)) bool {
	if k == nil || !k.Resume {
		return false
	}
	f, err := openState(k.File)
	if err != nil {
		return false
	}
	defer f.close()
	if !k.owns(f) || f.content.Metadata["stage"] != stage || !f.sound() || json.Unmarshal([]byte(f.content.Metadata["numbers"]), numbers) != nil {
		return false
	}
	m, ok := into(f)
	k.kept = ok && f.read(m) == nil
	return k.kept
}

// resultNumbers are the numbers of a Result.
type resultNumbers struct {
	Rows            int
	Total, Captured float64
}

func (r *Result) matrices() matrices {
	return matrices{float32s: map[string][]float32{"mean": r.Mean, "components": r.Components}, float64s: map[string][]float64{"variances": r.Variances}}
}

// keepResult keeps the result, where it may go on from the file, or has kept sums.
func (k *Keep) keepResult(r *Result) error {
	if k == nil || !k.Resume && !k.kept {
		return nil
	}
	return k.save(stageResult, resultNumbers{r.Rows, r.Total, r.Captured}, r.matrices())
}

// result is the result that was kept, of rows of d columns; nil where there is none.
func (k *Keep) result(d int) *Result {
	var n resultNumbers
	var r *Result
	ok := k.load(stageResult, &n, func(f *stateFile) (matrices, bool) {
		components := f.length("variances")
		if f.length("components") != components*d {
			return matrices{}, false
		}
		r = &Result{Mean: make([]float32, d), Components: make([]float32, components*d), Variances: make([]float64, components), Rows: n.Rows, Total: n.Total, Captured: n.Captured}
		return r.matrices(), true
	})
	if !ok {
		return nil
	}
	return r
}
