package mining

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/option"
)

// TestPlansShareAProcess mines with four plans at once, as a server would: each has a share of the process's budget and takes its instances from one
// pool. Each keeps to its share, and gives what a plan gives that has the process to itself.
func TestPlansShareAProcess(t *testing.T) {
	e := engine.NewPool(engine.Native(engine.Options{}), 3)
	defer e.Close(t.Context())
	whole := option.ProcessBudget(1 << 30)
	mined := func(plan *Plan) []byte {
		merge := plan.NewMerge()
		for _, piece := range plan.Pieces() {
			part, err := plan.MinePiece(t.Context(), piece)
			if err == nil {
				err = merge.Add(part)
			}
			if err != nil {
				t.Error(err)
				return nil
			}
		}
		r, err := merge.Result()
		if err != nil {
			t.Error(err)
			return nil
		}
		var b bytes.Buffer
		if err := errors.Join(r.WriteNegatives(&b), r.Manifest.Write(&b)); err != nil {
			t.Error(err)
		}
		return b.Bytes()
	}
	const plans = 4
	want := mined(demoPlan(t, Options{Compute: Compute{Engine: e, Threads: 2, Memory: whole}}))
	var group sync.WaitGroup
	for range plans {
		plan := demoPlan(t, Options{Compute: Compute{Engine: e, Threads: 2, Memory: whole.Share(plans)}})
		if got := int64(plan.split.instances) * plan.split.instanceLimit; got > whole.Instances()/plans {
			t.Errorf("instances of one plan may take %d bytes of %d", got, whole.Instances()/plans)
		}
		group.Go(func() {
			if !bytes.Equal(mined(plan), want) {
				t.Error("a plan with a share gives another result")
			}
		})
	}
	group.Wait()
}

// TestWorkFollowsSpeed: calls and parts are as large as an engine's speed says, within bounds, and as large as the caller says where it does.
func TestWorkFollowsSpeed(t *testing.T) {
	plan := demoPlan(t, Options{Compute: Compute{Engine: engine.Native(engine.Options{}), Threads: 2}})
	s := plan.miner.instances
	perRow := float64(s.multiplyAdds(1000))
	for _, row := range []struct {
		rowsPerSecond float64
		block, part   int
	}{
		{0.2, 1, 4096},        // a row takes longer than a second
		{40, 40, 4096},        // a pass takes longer than a second
		{1000, 64, 60_000},    // 50 rows in 50 ms: a pass; 30,000 in half a minute for each of two instances
		{2_000, 64, 120_000},  // 100 rows; whole passes of 64
		{8_000, 384, 480_000}, // 400 rows
		{1e9, 512, 1 << 30},   // bounds
	} {
		s.perSecond = row.rowsPerSecond * perRow
		if block, part := s.blockRows(1000), s.rowsIn(partTime, 1000); block != row.block || part != row.part {
			t.Errorf("%v rows a second: %d rows a call and %d a part; expected %d and %d", row.rowsPerSecond, block, part, row.block, row.part)
		}
	}
	s.fixedRows = 7
	if got := s.blockRows(1000); got != 7 {
		t.Errorf("the caller says 7 rows; %d go in a call", got)
	}
}
