package lambda_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/lambda/internal/awstest/account"
)

// BenchmarkJob runs whole jobs with shards of several sizes, one invocation at a time on one core, which is what a
// function of 1,769 MB has. docs/SCALE.md calculates with what it reports: the microseconds that mining a document
// takes, the milliseconds of a shard, the milliseconds of the longest invocation, which merges, and the most memory of
// a process.
func BenchmarkJob(b *testing.B) {
	folder, name := openData(b)
	p := fit(b, folder)
	for _, shards := range []int{4, 40, 400} {
		b.Run(fmt.Sprintf("%s/shards=%d", name, shards), func(b *testing.B) {
			for b.Loop() {
				a := newAccount(b, account.Options{Cache: true, Concurrency: 1, Timeout: 5 * time.Minute, Env: []string{"GOMAXPROCS=1"}})
				at := a.Place("bench")
				o := mining.Options{Compute: mining.Compute{Memory: option.ProcessBudget(1 << 30)}}
				m, err := job.Init(b.Context(), at, folder, p, job.InitOptions{Mine: o, Shards: min(shards, folder.Documents.Len())})
				must(b, err)
				a.drain(b)
				status, err := job.ReadStatus(b.Context(), at)
				must(b, err)
				memory, longest := int64(0), time.Duration(0)
				for _, i := range a.Function.Invocations() {
					memory, longest = max(memory, i.MaxRSS), max(longest, i.Duration)
				}
				b.ReportMetric(1e6*status.Seconds/float64(m.Documents()), "us/document")
				b.ReportMetric(1e3*status.Seconds/float64(len(m.Shards)), "ms/shard")
				b.ReportMetric(float64(longest.Milliseconds()), "ms/longest-invocation")
				b.ReportMetric(float64(memory>>20), "MiB")
				a.Close()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
