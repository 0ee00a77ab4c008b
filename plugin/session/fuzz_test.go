package session_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime"
	"strconv"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
	"github.com/quarry-hn/quarry/plugin/session"
	"github.com/quarry-hn/quarry/plugin/session/sessiontest"
)

// known runs the sequence that is right and returns its answers.
func known(t testing.TB, s *session.Session) (answers []byte) {
	t.Helper()
	for _, step := range sessiontest.Known {
		out, err := s.Call(step.Op, step.Message)
		if err != nil {
			t.Fatalf("%s of the known sequence: %v", step.Op, err)
		}
		answers = append(append(answers, out...), '\n')
	}
	return answers
}

// checkError checks that an error is one of the interface's, and not the plugin's own fault.
func checkError(t testing.TB, step sessiontest.Step, err error) {
	t.Helper()
	e, ok := err.(*abi.Error)
	switch {
	case !ok:
		t.Fatalf("%s: %T %v; expected an *abi.Error", step.Op, err, err)
	case e.Code <= abi.OK || e.Code >= abi.Internal || e.Message == "":
		t.Fatalf("%s: %v, %v", step.Op, e.Code, e)
	case e.Row < -1 || e.Row >= 0 && e.Tensor == "":
		t.Fatalf("%s: %#v: no such place", step.Op, e)
	case !json.Valid(e.JSON()) || *abi.ParseError(e.Code, e.JSON()) != *e:
		t.Fatalf("%s: %#v does not cross the boundary: %s", step.Op, e, e.JSON())
	}
}

// checkPart checks that a part is sound: it is read again, and merging it alone gives it back.
func checkPart(t testing.TB, step sessiontest.Step, part []byte) {
	t.Helper()
	if _, err := mine.ParsePart(part); err != nil {
		t.Fatalf("%s gave a part that is not one: %v", step.Op, err)
	}
	alone, err := safetensors.Marshal([]safetensors.Tensor{{Name: "x", DType: safetensors.U8, Shape: []int{len(part)}, Data: part}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := session.New(kernel.Plain).Call(abi.OpMerge, alone); err != nil || !bytes.Equal(again, part) {
		t.Fatalf("%s gave a part that merging changes: %v", step.Op, err)
	}
}

// FuzzCalls runs a program of calls on a session, and the calls that went through on another session, the twin. A call
// that failed has changed nothing where both sessions answer alike from then to the end. The session keeps nothing of a
// message: each is overwritten after its call.
func FuzzCalls(f *testing.F) {
	want := known(f, session.New(kernel.Plain))
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, code []byte) { run(t, code, want) })
}

// TestPrograms runs random programs.
func TestPrograms(t *testing.T) {
	programs := 3000
	if testing.Short() {
		programs = 500
	}
	want := known(t, session.New(kernel.Plain))
	for _, code := range sessiontest.Random(programs) {
		run(t, code, want)
	}
}

// run runs a program; want are the known answers.
func run(t testing.TB, code, want []byte) {
	t.Helper()
	s, twin := session.New(kernel.Plain), session.New(kernel.Plain)
	program, has := sessiontest.Decode(code), state{}
	for {
		step, ok := program.Next()
		if !ok {
			break
		}
		has = has.after(t, step, call(t, s, twin, step, program))
	}
	for _, step := range sessiontest.Probes {
		got, err := s.Call(step.Op, step.Message)
		expected, errTwin := twin.Call(step.Op, step.Message)
		if !bytes.Equal(got, expected) || (err == nil) != (errTwin == nil) || err != nil && *err.(*abi.Error) != *errTwin.(*abi.Error) {
			t.Fatalf("failed calls left something behind: %s gives %.100q, %v; without them %.100q, %v", step.Op, got, err, expected, errTwin)
		}
	}
	if got := known(t, s); !bytes.Equal(got, want) {
		t.Fatal("after a reset the known sequence gives other answers")
	}
}

// call runs one step on the session, and on its twin where it goes through.
func call(t testing.TB, s, twin *session.Session, step sessiontest.Step, program *sessiontest.Program) abi.Code {
	t.Helper()
	const most = 4 << 20 // no message of a program asks for more
	message := bytes.Clone(step.Message)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, err := s.Call(step.Op, message)
	runtime.ReadMemStats(&after)
	if !bytes.Equal(message, step.Message) {
		t.Fatalf("%s changed its message", step.Op)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > most {
		t.Fatalf("%s of %d bytes allocated %d", step.Op, len(message), n)
	}
	if held, limit := s.Held(), s.MemoryLimit(); held < 0 || held > limit/2 {
		t.Fatalf("%s: %d bytes are held; the limit is %d", step.Op, held, limit)
	}
	if err != nil {
		checkError(t, step, err)
		return err.(*abi.Error).Code
	}
	out = bytes.Clone(out)
	for i := range message {
		message[i] = 0xa5
	}
	if step.Op == abi.OpFinish || step.Op == abi.OpSelect || step.Op == abi.OpMerge {
		checkPart(t, step, out)
	}
	if again, err := twin.Call(step.Op, step.Message); err != nil || !bytes.Equal(again, out) {
		t.Fatalf("%s: a session that did not see the failed calls gives another answer: %v", step.Op, err)
	}
	if s.Held() != twin.Held() {
		t.Fatalf("%s: %d bytes are held, by the twin %d", step.Op, s.Held(), twin.Held())
	}
	program.Answered(step, out)
	return abi.OK
}

// seeds are programs of six bytes a step: an operation (below 0x80: that of the message), a message, a change, its
// place (two bytes), and its value.
var seeds = []string{
	"\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00", // the known sequence
	// begin and push, a push with a NaN, one that overlaps, one cut off; finish, and merge of one part
	"\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x0d\x00\x00\x00\x00\x00\x02\x05\x00\x03\x06\x00\x0d\x00\x00\x00\x00\x00\x02\x02\x00\x90\x00\x00\x03\x00\x00\x00\x00\x01\x06\x00\x00\x00\x00",
	// two parts that each claim to have left out 2^63-1 documents, merged
	"\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x0d\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x03\x06\x0d\x00\x0e\x02",
	// zero vectors left out, pushed twice; two parts, the second empty
	"\x00\x00\x00\x00\x00\x00\x00\x0b\x00\x00\x00\x00\x00\x0f\x00\x00\x00\x00\x00\x0f\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00",
	// little memory; select; without PCA; projected; an operation that is none
	"\x00\x13\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a\x06\x00\x06\x03\x00\x08\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x12\x00\x00\x00\x00\x8a\x00\x00\x00\x00\x00",
	"\x00\x0c\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x0f\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x11\x00\x00\x00\x00\x03\x06\x00\x00\x00\x00",
}

// state is what docs/ABI.md says an instance keeps.
type state struct{ projection, pairs bool }

// after is the state after a call that gave code. It checks that push and finish give no_pairs where there are no
// pairs, and only there.
func (s state) after(t testing.TB, step sessiontest.Step, code abi.Code) state {
	t.Helper()
	usesPairs := step.Op == abi.OpPush || step.Op == abi.OpFinish
	if (code == abi.NoPairs) != (usesPairs && !s.pairs) || code == abi.NoProjection && s.projection {
		t.Fatalf("%s gives %v; projection and pairs: %v", step.Op, code, s)
	}
	switch {
	case code != abi.OK:
	case step.Op == abi.OpReset:
		return state{}
	case step.Op == abi.OpLoadProjection:
		return state{projection: true}
	case step.Op == abi.OpBegin:
		s.pairs = true
	}
	return s
}

// TestMemoryLimit lowers the limit until nothing fits. With more than some limit a sequence gives what it always does.
// With less it ends in abi.Memory, and in no other error.
func TestMemoryLimit(t *testing.T) {
	s, held := session.New(kernel.Plain), []int64{}
	for _, step := range sessiontest.Known {
		if _, err := s.Call(step.Op, step.Message); err != nil {
			t.Fatal(err)
		}
		held = append(held, s.Held())
	}
	// What load_projection and begin hold counts from then on; loading anew forgets the pairs.
	known(t, s)
	if _, err := s.Call(abi.OpLoadProjection, sessiontest.Known[1].Message); err != nil || held[0] != 0 || held[1] <= 0 || held[2] <= held[1] || held[4] != held[2] || s.Held() != held[1] {
		t.Fatalf("%v: %d are held, after loading anew %d", err, held, s.Held())
	}
	load, begin, push, finish := sessiontest.Known[1], sessiontest.Known[2], sessiontest.Known[3], sessiontest.Known[4]
	transform, selectOnce := sessiontest.Probes[0], sessiontest.Probes[1]
	for name, sequence := range map[string][]sessiontest.Step{
		"load": {load}, "transform": {load, transform}, "begin": {load, begin}, "push": {load, begin, push, finish}, "select": {load, selectOnce},
	} {
		want, least, most := []byte(nil), int64(0), int64(0) // that fitted, that did not
		for limit := int64(1 << 23); limit > 0; limit = limit * 15 / 16 {
			s := session.New(kernel.Plain)
			b, err := safetensors.Marshal(nil, map[string]string{"memory_limit": strconv.FormatInt(limit, 10)})
			if err == nil {
				_, err = s.Call(abi.OpReset, b)
			}
			if err != nil || s.MemoryLimit() != limit {
				t.Fatalf("limit %d: %v", s.MemoryLimit(), err)
			}
			var out []byte
			for _, step := range sequence {
				if out, err = s.Call(step.Op, step.Message); err != nil {
					break
				}
			}
			switch {
			case s.Held() > limit/2:
				t.Fatalf("%s, limit %d: %d bytes are held", name, limit, s.Held())
			case err != nil && !errors.Is(err, &abi.Error{Code: abi.Memory}):
				t.Fatalf("%s, limit %d: %v", name, limit, err)
			case err != nil:
				most = max(most, limit)
			case want != nil && !bytes.Equal(want, out):
				t.Fatalf("%s, limit %d: another answer", name, limit)
			default:
				want, least = bytes.Clone(out), limit
			}
		}
		if least == 0 || most == 0 || most > least {
			t.Errorf("%s fits %d bytes, and does not fit %d", name, least, most)
		}
	}
}
