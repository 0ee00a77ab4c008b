package job_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
)

// TestInitOfAJobWhoseInputsAreGone: a job whose inputs were removed, as they may be to save room, keeps its name and
// its result.
func TestInitOfAJobWhoseInputsAreGone(t *testing.T) {
	i := newInputs(t, mining.Options{}, 4)
	x := i.on(t)
	x.rest()
	for o, err := range x.at.In.List(t.Context(), "", "") {
		if err == nil {
			err = x.at.In.Delete(t.Context(), o.Key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	other := i.options
	other.Top = 1
	_, err := job.Init(t.Context(), x.at, i.folder, i.projection, job.InitOptions{Mine: other, Shards: 4})
	if !errors.Is(err, option.ErrExists) || !strings.Contains(err.Error(), x.at.Out.URL()) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("another job of that name: %v", err)
	}
	if _, err := x.at.In.Head(t.Context(), job.ManifestKey); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("it was put all the same: %v", err)
	}
	if _, err := job.Init(t.Context(), x.at, i.folder, i.projection, job.InitOptions{Mine: i.options, Shards: 4}); err != nil {
		t.Errorf("the same job: %v", err)
	}
	x.check(t, x.at)
}
