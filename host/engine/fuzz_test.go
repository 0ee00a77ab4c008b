package engine

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/session/sessiontest"
)

// differ runs a program on two instances, call by call: both give the same bytes or the same error, and neither is lost. Then both
// give the known answers.
func differ(t testing.TB, code []byte, reference, other Instance, want []byte) {
	t.Helper()
	for _, i := range []Instance{reference, other} { // a program's failure is its own, not of what ran before
		must(t, i, abi.OpReset, sessiontest.Known[0].Message)
	}
	program := sessiontest.Decode(code)
	for n := 0; ; n++ {
		step, ok := program.Next()
		if !ok {
			break
		}
		a, errA := call(t, reference, step.Op, step.Message)
		b, errB := call(t, other, step.Op, step.Message)
		if step.Op == abi.OpInfo { // names the kernels, which differ by design
			a, b = kernelNames.ReplaceAll(a, nil), kernelNames.ReplaceAll(b, nil)
		}
		switch {
		case errors.Is(errB, ErrLost) || errors.Is(errB, &abi.Error{Code: abi.Internal}):
			t.Fatalf("step %d, %s: %v", n, step.Op, errB)
		case (errA == nil) != (errB == nil) || errA != nil && *abi.AsError(errA) != *abi.AsError(errB):
			t.Fatalf("step %d, %s: %v, expected %v", n, step.Op, errB, errA)
		case !bytes.Equal(a, b):
			t.Fatalf("step %d, %s: %d bytes that differ from the reference's %d", n, step.Op, len(b), len(a))
		case errA == nil:
			program.Answered(step, a)
		}
	}
	for _, i := range []Instance{reference, other} {
		if got := knownAnswers(t, i); !bytes.Equal(got, want) {
			t.Fatal("after a reset the known sequence gives other answers")
		}
	}
}

func knownAnswers(t testing.TB, i Instance) (answers []byte) {
	t.Helper()
	for _, step := range sessiontest.Known {
		answers = append(answers, must(t, i, step.Op, step.Message)...)
	}
	return answers
}

// TestPrograms runs random programs of calls on every engine, one instance of each for all: garbage leaves nothing behind.
func TestPrograms(t *testing.T) {
	all := engines(t)
	for e, n := range map[int]int{1: 400, 2: 10} { // the interpreter is slow
		reference, other := open(t, all[0]), open(t, all[e])
		want := knownAnswers(t, open(t, all[0]))
		for _, code := range sessiontest.Random(n) {
			differ(t, code, reference, other, want)
		}
	}
}

// FuzzEngines runs programs on the module, compiled, and natively.
func FuzzEngines(f *testing.F) {
	wasm, err := Wasm(f.Context(), WasmOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = wasm.Close(f.Context()) })
	var instances []Instance
	for _, e := range []Engine{Native(Options{}), wasm} {
		i, err := e.Open(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		instances = append(instances, i)
	}
	want := knownAnswers(f, instances[0])
	for _, code := range sessiontest.Random(4) {
		f.Add(code)
	}
	f.Fuzz(func(t *testing.T, code []byte) { differ(t, code, instances[0], instances[1], want) })
}
