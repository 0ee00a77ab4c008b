package job

import (
	"errors"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/beir"
	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// smallFit is the small folder, and a projection of it.
func smallFit(t *testing.T) (*dataset.Dataset, *projection.Projection) {
	t.Helper()
	folder, err := beir.OpenFS(Small(t), "small")
	if err != nil {
		t.Fatal(err)
	}
	p, err := projection.Fit(t.Context(), folder, projection.FitOptions{Components: 4})
	if err != nil {
		t.Fatal(err)
	}
	return folder, p
}

// TestShardsThatAreTooLarge: of a job with a shard that S3 does not take nothing is put, and as many shards as the hint
// says do.
func TestShardsThatAreTooLarge(t *testing.T) {
	folder, p := smallFit(t)
	o := InitOptions{Mine: mining.Options{Compute: mining.Compute{Engine: engine.Native(engine.Options{})}}, Shards: 2}
	at := &Place{Name: "large", In: objstore.NewMemory(), Out: objstore.NewMemory()}
	m, err := Init(t.Context(), at, folder, p, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func(most int64) { maxShard = most }(maxShard)
	maxShard = m.Shards[0].Size - 1
	at = &Place{Name: "large", In: objstore.NewMemory(), Out: objstore.NewMemory()}
	if _, err := Init(t.Context(), at, folder, p, o); !errors.Is(err, option.ErrOption) || !strings.Contains(err.Error(), "about 3 shards would do") {
		t.Errorf("%v", err)
	}
	for object, err := range at.In.List(t.Context(), "", "") {
		t.Errorf("%v, %v", object, err)
	}
	o.Shards = 3
	if _, err := Init(t.Context(), at, folder, p, o); err != nil {
		t.Error(err)
	}
}
