package job_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// took has the parts of a shard say that they took so long, with so much memory.
func (x *trial) took(shard, milliseconds, mib int) {
	x.t.Helper()
	changed := 0
	for o, err := range x.at.Out.List(x.t.Context(), "parts/", "") {
		if err != nil {
			x.t.Fatal(err)
		}
		if !strings.Contains(o.Key, fmt.Sprintf("-%07d-", shard)) {
			continue
		}
		b, _, err := objstore.ReadAll(x.t.Context(), x.at.Out, o.Key, 1<<20)
		if err != nil {
			x.t.Fatal(err)
		}
		f, err := safetensors.Parse(b, 1<<20)
		if err != nil {
			x.t.Fatal(err)
		}
		f.Metadata["work"] = fmt.Sprintf(`{"milliseconds":%d,"memory_mib":%d,"rows":20,"bytes":1000}`, milliseconds, mib)
		if b, err = safetensors.Marshal(f.Tensors, f.Metadata); err != nil {
			x.t.Fatal(err)
		}
		if err := x.at.Out.Put(x.t.Context(), o.Key, bytes.NewReader(b)); err != nil {
			x.t.Fatal(err)
		}
		changed++
	}
	if changed != len(x.manifest.Groups) {
		x.t.Fatalf("shard %d has %d parts", shard, changed)
	}
}

// TestStatusAddsUp: time, memory and cost of parts that say what they took. What no memory was paid for costs nothing.
func TestStatusAddsUp(t *testing.T) {
	t.Parallel()
	// GB-seconds: 600 x 2 + 450.5 x 1 + 1 x 1769 / 1024 = 1652.2275390625, at $0.0000133334; three parts are paid for,
	// each at $0.0000242.
	const gbSeconds, price = 1652.2275390625, 0.0220298106694 + 3*0.0000242
	for groups, o := range map[int]mining.Options{1: {}, 2: grouped(t, mining.Options{}, 2)} {
		x := newInputs(t, o, 5).on(t)
		if len(x.manifest.Groups) != groups {
			t.Fatalf("%d groups of pairs", len(x.manifest.Groups))
		}
		for shard, work := range [][2]int{{600_000, 2048}, {450_500, 1024}, {1_000, 1769}, {4_000, 0}} { // the fifth is not mined
			x.shard(x.shards[shard], job.Mined, "")
			x.took(shard, work[0], work[1])
		}
		s, n := x.status(), float64(groups)
		for what, row := range map[string][2]float64{
			"seconds": {s.Seconds, n * 1055.5}, "GB-seconds": {s.GBSeconds, n * gbSeconds}, "dollars": {s.Dollars, n * price},
		} {
			if math.Abs(row[0]-row[1]) > 1e-9*row[1] {
				t.Errorf("%d groups: %v %s, expected %v", groups, row[0], what, row[1])
			}
		}
	}
}
