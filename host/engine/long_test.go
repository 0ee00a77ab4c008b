package engine

import (
	"encoding/binary"
	"regexp"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/plugin/abi"
)

// TestLongInputs gives operations messages with a long name or value at each place of the header, one at a time. No
// error quotes it whole, whether the plugin runs natively or as Wasm.
func TestLongInputs(t *testing.T) {
	s := newSample(t, 1, map[string]string{"rule": "margin", "margin": "0.1", "top": "2", "zero": "skip", "counts": "true", "pairs_id": "p"})
	long := strings.Repeat("x", 100_000)
	for _, e := range engines(t)[:2] {
		i := open(t, e)
		must(t, i, abi.OpLoadProjection, s.projection)
		for op, message := range map[abi.Op][]byte{abi.OpSelect: s.selectOnce, abi.OpTransform: s.transform, abi.OpPush: s.push, abi.OpLoadProjection: s.projection} {
			length := binary.LittleEndian.Uint64(message)
			header, data := string(message[8:8+length]), message[8+length:]
			cut := 0
			for _, at := range regexp.MustCompile(`"[^"]*"|\d+`).FindAllStringIndex(header, -1) {
				changed := header[:at[0]] + `"` + long + `"` + header[at[1]:]
				must(t, i, abi.OpBegin, s.begin) // for the push
				file := append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(changed))), changed...), data...)
				_, err := call(t, i, op, file)
				if err == nil {
					continue
				}
				if n := len(err.Error()); n > 1000 {
					t.Errorf("%s, %s: an error of %d bytes: %.200s", e.Name(), op, n, err)
				}
				if strings.Contains(err.Error(), "…") {
					cut++
				}
			}
			if cut < 5 {
				t.Errorf("%s, %s: only %d errors were cut", e.Name(), op, cut)
			}
		}
	}
}
