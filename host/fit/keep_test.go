package fit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/matrix"
)

// counted is a source that counts the rows that are read.
type counted struct {
	Source
	rows atomic.Int64
}

func (c *counted) Read(dst []float32, first, n int) ([]bool, error) {
	c.rows.Add(int64(n))
	return c.Source.Read(dst, first, n)
}

// keptFits are fits of several blocks a pass. The wide one has more than three passes.
var keptFits = []struct {
	name string
	fit  func(context.Context, Source, Options) (*Result, error)
	rows func() *spectrum
	o    Options
}{
	{"covariance", fitExact, func() *spectrum { return newSpectrum(1100, 30, power(1)) }, Options{Variance: 0.95, Center: true}},
	{"covariance, not centred", fitExact, func() *spectrum { return newSpectrum(1100, 30, power(1)) }, Options{Components: 5}},
	{"wide", fitRandomized, func() *spectrum {
		s := newSpectrum(1100, 60, power(0.5))
		for i := range 60 { // the rows that are sampled lie in a plane, so the subspace grows
			clear(s.data[i*1100/60*60+2 : (i*1100/60+1)*60])
		}
		return s
	}, Options{Variance: 0.7, Center: true, Machine: matrix.Plain, Seed: 5}},
	{"wide, not centred", fitRandomized, func() *spectrum { return newSpectrum(1100, 60, power(1)) }, Options{Components: 10, Machine: matrix.Plain}},
	{"wide, by the covariance", fitByCovariance, func() *spectrum { return newSpectrum(1100, 60, power(1)) }, Options{Variance: 0.9, Center: true, Machine: matrix.Plain, Seed: 5}},
}

// interrupted makes a fit whose context ends when it reports progress for the n-th time, from 1; with 0 nothing ends
// it. It returns how many rows the fit read.
func interrupted(t *testing.T, fit func(context.Context, Source, Options) (*Result, error), rows Source, o Options, n int) (*Result, int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reports := 0
	report := o.Progress
	o.Progress = func(pass string, done, total int) {
		if report != nil {
			report(pass, done, total)
		}
		if reports++; reports == n {
			cancel()
		}
	}
	c := &counted{Source: rows}
	r, err := fitKept(ctx, c, o, fit)
	if n == 0 && err != nil || n > 0 && reports >= n && !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted at report %d of %d: %v", n, reports, err)
	}
	return r, c.rows.Load()
}

// TestKeptGoesOn interrupts a fit at every report of progress, and goes on with another number of threads. The result
// has the bits of a fit that is left alone, and together the two read every row as often as that fit does.
func TestKeptGoesOn(t *testing.T) {
	for _, row := range keptFits {
		t.Run(row.name, func(t *testing.T) {
			s := row.rows()
			s.skip = map[int]bool{0: true, 3: true, 700: true, 1099: true}
			var reports []string
			alone := row.o
			alone.Threads = 2
			alone.Progress = func(pass string, done, total int) {
				reports = append(reports, fmt.Sprintf("%s: %d of %d", pass, done, total))
			}
			want, reads := interrupted(t, row.fit, s, alone, 0)
			first := int64(0) // rows that are read before the first sums
			step := 1
			if testing.Short() && len(reports) > 20 {
				step = 5 // which meets every pass, and every block of one
			}
			for at := 1; at <= len(reports); at += step {
				o := row.o
				o.Keep = &Keep{File: filepath.Join(t.TempDir(), "fit"), Of: "this", Resume: true, Rows: 1}
				o.Threads = 1
				_, before := interrupted(t, row.fit, s, o, at)
				if at == 1 {
					first = before
				} else if !o.Keep.Kept() {
					t.Errorf("interrupted at %s: nothing is kept", reports[at-1])
				}
				o.Keep = &Keep{File: o.Keep.File, Of: "this", Resume: true, Rows: 1}
				o.Threads = 3
				got, after := interrupted(t, row.fit, s, o, 0)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("interrupted at %s: the result has other bits", reports[at-1])
				}
				again := int64(0)
				if at == 1 {
					again = first
				}
				if before+after != reads+again {
					t.Errorf("interrupted at %s: %d rows were read and then %d; a fit that is left alone reads %d", reports[at-1], before, after, reads)
				}
				o.Keep = &Keep{File: o.Keep.File, Of: "this", Resume: true}
				if got, after := interrupted(t, row.fit, s, o, 0); !reflect.DeepEqual(got, want) || after != 0 {
					t.Errorf("once more: %d rows were read", after)
				}
			}
			if len(reports) < 4 || row.name == "wide" && len(reports) < 6*4-1 {
				t.Errorf("the fit is too short for this test: %q", reports)
			}
		})
	}
}

// keptAt is the file of a fit that was interrupted at a report of progress.
func keptAt(t *testing.T, row int, report int) (s *spectrum, o Options) {
	t.Helper()
	f := keptFits[row]
	s, o = f.rows(), f.o
	o.Threads = 2
	o.Keep = &Keep{File: filepath.Join(t.TempDir(), "fit"), Of: "this", Resume: true, Rows: 1}
	interrupted(t, f.fit, s, o, report)
	return s, o
}

// TestKeptIsOfTheSame has a file of another fit, or a damaged one. The fit starts from nothing, as if there were
// none, and then replaces the file.
func TestKeptIsOfTheSame(t *testing.T) {
	flip := func(at func(size int) int) func(t *testing.T, o *Options) {
		return func(t *testing.T, o *Options) {
			b, err := os.ReadFile(o.Keep.File)
			if err != nil {
				t.Fatal(err)
			}
			b[at(len(b))] ^= 1
			write(t, o.Keep.File, b)
		}
	}
	metadata := func(key, value string) func(t *testing.T, o *Options) {
		return func(t *testing.T, o *Options) {
			rewrite(t, o.Keep.File, func(m map[string]string, _ matrices) { m[key] = value })
		}
	}
	for name, change := range map[string]func(t *testing.T, o *Options){
		"another fit":       func(_ *testing.T, o *Options) { o.Keep.Of = "that" },
		"not to go on":      func(_ *testing.T, o *Options) { o.Keep.Resume = false },
		"nothing":           func(t *testing.T, o *Options) { write(t, o.Keep.File, nil) },
		"no such file":      func(t *testing.T, o *Options) { write(t, o.Keep.File, []byte("what somebody wrote by hand")) },
		"a long header":     func(t *testing.T, o *Options) { write(t, o.Keep.File, bytes.Repeat([]byte{255}, 64)) },
		"another format":    metadata("format", "quarry.fit.v0"),
		"another machine":   metadata("arch", "mips"),
		"another stage":     metadata("stage", "bogus"),
		"no numbers":        metadata("numbers", "{"),
		"senseless numbers": metadata("numbers", `{"Pass":1,"Read":-1,"Counted":-1,"Columns":1,"Largest":60}`),
		"too many rows":     metadata("numbers", `{"Pass":1,"Read":99999,"Counted":5,"Columns":1,"Largest":60}`),
		"another length": func(t *testing.T, o *Options) {
			rewrite(t, o.Keep.File, func(_ map[string]string, m matrices) {
				for name, v := range m.float64s {
					m.float64s[name] = v[1:]
				}
			})
		},
		"a name":           flip(func(int) int { return 12 }),
		"a number":         func(t *testing.T, o *Options) { replace(t, o.Keep.File, `\"Counted\":`, `\"Counted\":1`) },
		"a value":          flip(func(size int) int { return size / 2 }),
		"the last value":   flip(func(size int) int { return size - 1 }),
		"the checksum":     func(t *testing.T, o *Options) { replace(t, o.Keep.File, `"sha256":"`, `"sha256":"x`) },
		"the end is lost":  func(t *testing.T, o *Options) { cut(t, o.Keep.File, 1) },
		"half of it lost":  func(t *testing.T, o *Options) { cut(t, o.Keep.File, 2) },
		"more than it had": func(t *testing.T, o *Options) { cut(t, o.Keep.File, 0) },
	} {
		for i, row := range keptFits {
			if i%2 == 1 || i > 2 && testing.Short() {
				continue
			}
			t.Run(name+"/"+row.name, func(t *testing.T) {
				s, o := keptAt(t, i, 3)
				o.Keep = &Keep{File: o.Keep.File, Of: "this", Resume: true, Rows: 1}
				change(t, &o)
				alone := o
				alone.Keep = nil
				want, reads := interrupted(t, row.fit, s, alone, 0)
				got, read := interrupted(t, row.fit, s, o, 0)
				if !reflect.DeepEqual(got, want) {
					t.Error("the result has other bits")
				}
				if read != reads {
					t.Errorf("%d rows were read; without the file it is %d", read, reads)
				}
				o.Keep = &Keep{File: o.Keep.File, Of: o.Keep.Of, Resume: true}
				if got, read := interrupted(t, row.fit, s, o, 0); !reflect.DeepEqual(got, want) || read != 0 {
					t.Errorf("%d rows were read once the file was replaced", read)
				}
			})
		}
	}
}

// TestKeptOfOtherMemory goes on with less memory, in which the subspace has room for fewer columns, and so might have
// other bits.
func TestKeptOfOtherMemory(t *testing.T) {
	s := newSpectrum(1600, 400, power(1))
	f := fitRandomized
	o := Options{Components: 20, Machine: matrix.Plain, Threads: 2, Keep: &Keep{File: filepath.Join(t.TempDir(), "fit"), Of: "this", Resume: true, Rows: 1}}
	interrupted(t, f, s, o, 4)
	o.Keep = &Keep{File: o.Keep.File, Of: "this", Resume: true}
	o.Memory = subspaceMemory(400, 200, o)
	alone := o
	alone.Keep = nil
	want, reads := interrupted(t, f, s, alone, 0)
	got, read := interrupted(t, f, s, o, 0)
	if !reflect.DeepEqual(got, want) || read != reads {
		t.Errorf("%d rows were read; without the file it is %d", read, reads)
	}
}

// TestKeptResultIsDamaged has a result with a value that was changed.
func TestKeptResultIsDamaged(t *testing.T) {
	s, o := keptAt(t, 0, 0)
	alone := o
	alone.Keep = nil
	want, reads := interrupted(t, fitExact, s, alone, 0)
	for name, change := range map[string]func(m map[string]string, _ matrices){
		"a length": func(_ map[string]string, m matrices) { m.float32s["mean"] = m.float32s["mean"][1:] },
		"columns":  func(_ map[string]string, m matrices) { m.float32s["components"] = m.float32s["components"][1:] },
	} {
		rewrite(t, o.Keep.File, change)
		o.Keep = &Keep{File: o.Keep.File, Of: "this", Resume: true}
		if got, read := interrupted(t, fitExact, s, o, 0); !reflect.DeepEqual(got, want) || read != reads {
			t.Errorf("%s: %d rows were read; without the file it is %d", name, read, reads)
		}
	}
}

// TestKeptByTime has a clock that only the test moves. A fit keeps its sums after half a minute's work, between
// passes too, and a short fit keeps nothing, unless it may be gone on from.
func TestKeptByTime(t *testing.T) {
	for i, row := range keptFits[:3] {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := row.rows()
				o := row.o
				o.Threads = 2
				want, _ := interrupted(t, row.fit, s, o, 0)
				keep := func(resume bool) *Keep {
					o.Keep = &Keep{File: filepath.Join(t.TempDir(), "fit"), Of: "this", Resume: resume}
					return o.Keep
				}
				wait := func(d time.Duration) (times map[string]int) {
					times = map[string]int{}
					o.Progress = func(pass string, done, total int) {
						time.Sleep(d)
						if info, err := os.Stat(o.Keep.File); err == nil {
							times[info.ModTime().String()]++
						}
					}
					if got, _ := interrupted(t, row.fit, s, o, 0); !reflect.DeepEqual(got, want) {
						t.Error("the result has other bits")
					}
					return times
				}
				if k := keep(false); len(wait(0)) != 0 || k.Kept() || k.Has() {
					t.Error("a short fit is kept")
				}
				if k := keep(true); len(wait(0)) != 0 || !k.Kept() || !k.Has() {
					t.Error("the result of a short fit is not kept, or something before it is")
				}
				if k := keep(false); len(wait(keepAfter)) < 3 || !k.Kept() || !k.Has() {
					t.Error("a long fit is not kept, or not often enough")
				}
				o.Keep = &Keep{File: o.Keep.File, Of: "this", Resume: true}
				if got := o.Keep.result(s.Columns()); !reflect.DeepEqual(got, want) {
					t.Error("the result of a long fit is not kept")
				}
				if i == 2 { // between passes: the report of no row is followed by the sums
					_, o = keptAt(t, i, 6)
					var begun []string
					o.Progress = func(pass string, done, total int) {
						if done == 0 {
							begun = append(begun, pass)
							time.Sleep(keepAfter)
						}
					}
					o.Keep = keep(false)
					if interrupted(t, row.fit, s, o, 2+4+1); !o.Keep.Kept() || len(begun) != 2 {
						t.Errorf("of the beginning of pass 2 nothing is kept: %q", begun)
					}
				}
			})
		})
	}
}

// TestKeptCannotBeWritten: a fit that may not write fails, and says which file.
func TestKeptCannotBeWritten(t *testing.T) {
	s := newSpectrum(600, 30, power(1))
	o := Options{Variance: 0.95, Threads: 2, Keep: &Keep{File: filepath.Join(t.TempDir(), "nosuch", "fit"), Rows: 1}}
	if _, err := Fit(t.Context(), s, o); !errors.Is(err, atomicfile.ErrWrite) || !errors.Is(err, fs.ErrNotExist) || o.Keep.Kept() {
		t.Errorf("without the folder: %v", err)
	}
	prepared := 0
	o.Keep = &Keep{File: o.Keep.File, Rows: 1, Prepare: func() error { prepared++; return os.Mkdir(filepath.Dir(o.Keep.File), 0o755) }}
	if _, err := Fit(t.Context(), s, o); err != nil || prepared != 1 || !o.Keep.Kept() {
		t.Errorf("with Prepare, which was called %d times: %v", prepared, err)
	}
	failed := errors.New("failed")
	o.Keep = &Keep{File: o.Keep.File, Rows: 1, Prepare: func() error { return failed }}
	if _, err := Fit(t.Context(), s, o); !errors.Is(err, failed) || o.Keep.Kept() {
		t.Errorf("where Prepare fails: %v", err)
	}
}

// rewrite writes a file anew with other metadata or matrices, and a checksum that is right.
func rewrite(t *testing.T, path string, change func(map[string]string, matrices)) {
	t.Helper()
	f, err := openState(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	m := matrices{map[string][]float32{}, map[string][]float64{}}
	for _, tensor := range f.content.Tensors {
		if tensor.DType == "F32" {
			m.float32s[tensor.Name] = make([]float32, tensor.Shape[0])
		} else {
			m.float64s[tensor.Name] = make([]float64, tensor.Shape[0])
		}
	}
	if err := f.read(m); err != nil || !f.sound() {
		t.Fatalf("the file is damaged already: %v", err)
	}
	metadata := maps.Clone(f.content.Metadata)
	delete(metadata, checksum)
	change(metadata, m)
	if err := writeState(path, metadata, m); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace replaces a text by one that is longer, and leaves as much out of the padding or of the values.
func replace(t *testing.T, path, old, new string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%s lacks %s: %v", path, old, err)
	}
	write(t, path, bytes.Replace(b, []byte(old), []byte(new), 1)[:len(b)])
}

// cut leaves 1/parts of a file, less a byte; with 0 it adds one.
func cut(t *testing.T, path string, parts int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if parts == 0 {
		write(t, path, append(b, 0))
		return
	}
	write(t, path, b[:len(b)/parts-1])
}

// TestKeptWithoutCopies writes and reads a state whose matrices are large. Neither takes memory of that size, for the
// memory of a fit is bounded.
func TestKeptWithoutCopies(t *testing.T) {
	const size, most = 32 << 20, 2 << 20
	m := matrices{float32s: map[string][]float32{"image": make([]float32, size/8)}, float64s: map[string][]float64{"sums": make([]float64, size/16)}}
	k := &Keep{File: filepath.Join(t.TempDir(), "fit"), Of: "this", Resume: true}
	for name, work := range map[string]func() bool{
		"write": func() bool { return k.save(stageSubspace, struct{}{}, m) == nil },
		"read": func() bool {
			return k.load(stageSubspace, &struct{}{}, func(*stateFile) (matrices, bool) { return m, true })
		},
	} {
		if !k.Kept() && k.save(stageSubspace, struct{}{}, m) != nil {
			t.Fatal("it cannot be written")
		}
		least := uint64(math.MaxUint64)
		for range 20 { // other goroutines of the process may allocate too
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if !work() {
				t.Fatal(name, "failed")
			}
			runtime.ReadMemStats(&after)
			if least = min(least, after.TotalAlloc-before.TotalAlloc); least <= most {
				break
			}
		}
		if least > most {
			t.Errorf("%s: %d bytes were allocated for a state of %d", name, least, size)
		}
	}
}
