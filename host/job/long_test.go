package job_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// TestLongInputsAreCut has a text of a megabyte at each place of a job's inputs. Whoever reads of the problem gets a few
// lines of it.
func TestLongInputsAreCut(t *testing.T) {
	const most = 2000 // bytes of an error
	long := strings.Repeat("x", 1<<20)
	i := newInputs(t, mining.Options{}, 3)
	for name, change := range map[string]func(m *job.Manifest){
		"format":        func(m *job.Manifest) { m.Format = long },
		"result format": func(m *job.Manifest) { m.Result.Format = long },
		"abi":           func(m *job.Manifest) { m.Result.Plugin.ABI = long },
		"plugin":        func(m *job.Manifest) { m.Result.Plugin.SHA256 = long },
		"zero":          func(m *job.Manifest) { m.Result.Zero = long },
		"rule":          func(m *job.Manifest) { m.Result.Rule.Name = long },
		"projection":    func(m *job.Manifest) { m.Projection.Name, m.Projection.SHA256 = long, long },
		"pairs":         func(m *job.Manifest) { m.Groups[0].Name, m.Groups[0].SHA256 = long, long },
		"shard":         func(m *job.Manifest) { m.Shards[0].Name, m.Shards[0].SHA256, m.Shards[1].First = long, long, 7 },
	} {
		x := i.on(t)
		b := i.edit(t, change)
		if _, err := job.ParseManifest(b); err == nil || len(err.Error()) > most {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
		x.put(job.ManifestKey, b)
		if o := x.sweep(job.Refused, "job"); len(o.Problem) > most {
			t.Errorf("%s: a problem of %d bytes", name, len(o.Problem))
		}
	}
	unknown := bytes.Replace(i.edit(t, func(*job.Manifest) {}), []byte(`"format"`), []byte(`"`+long+`":1,"format"`), 1)
	if _, err := job.ParseManifest(unknown); err == nil || len(err.Error()) > most {
		t.Errorf("a field: an error of %d bytes", len(err.Error()))
	}
	for name, change := range map[string]func(f *safetensors.File){
		"format": func(f *safetensors.File) { f.Metadata["format"] = long },
		"tensor": func(f *safetensors.File) { tensor(f, "documents/minilm").Name = long },
	} {
		x := i.on(t)
		x.replace(1, x.tensors(1, change))
		if o, err := x.w.Shard(t.Context(), x.shards[1]); err != nil || o.Action != job.Refused || len(o.Problem) > most {
			t.Errorf("a shard's %s: %v, %d bytes", name, err, len(o.Problem))
		}
	}
	if _, err := job.Locate(t.Context(), long, ""); err == nil || len(err.Error()) > most {
		t.Errorf("a URL: an error of %d bytes", len(err.Error()))
	}
	if _, err := job.At(t.Context(), t.TempDir(), "", long); err == nil || len(err.Error()) > most {
		t.Errorf("a job: an error of %d bytes", len(err.Error()))
	}
}
