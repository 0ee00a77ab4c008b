package run

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/negatives"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/projection"
)

// sameManifest fails where the manifest of what is at path is not that of a plan, and says what differs.
func sameManifest(path string, there *negatives.Manifest, plan *mining.Plan) error {
	now := plan.Manifest()
	return notDifferent(path, differentValues(manifestValues(there), manifestValues(&now)))
}

// sameSettings fails where the projection at path was fitted with other settings, and says which.
func sameSettings(path string, there, now projection.Settings) error {
	return notDifferent(path, differentSettings(there, now))
}

// differentSettings says which settings of a fit differ.
func differentSettings(there, now projection.Settings) []string {
	was, is := map[string]string{}, map[string]string{}
	flatten(was, "fit", there)
	flatten(is, "fit", now)
	return differentValues(was, is)
}

// sameFit fails where the run was fitted with other settings than those of the options, and says which.
func (c *checkpoint) sameFit(data *dataset.Dataset, o projection.FitOptions) error {
	now, err := o.Settings(data)
	if err != nil {
		return err
	}
	p := c.record.Manifest.Projection
	there := projection.Settings{Normalize: p.Normalize, Center: p.Center, PCA: p.PCA, FitOn: p.FitOn, Seed: p.Seed}
	for _, m := range p.Models {
		there.Models = append(there.Models, projection.Weight{Model: m.Name, Weight: m.Weight})
	}
	return sameSettings(c.folder, there, now)
}

// differentValues says which values differ.
func differentValues(there, now map[string]string) (differences []string) {
	keys := maps.Clone(there)
	maps.Copy(keys, now)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if there[key] != now[key] {
			differences = append(differences, fmt.Sprintf("%s is %s and was %s", key, orNone(now[key]), orNone(there[key])))
		}
	}
	return differences
}

// notDifferent fails where what is at path differs.
func notDifferent(path string, differences []string) error {
	if differences == nil {
		return nil
	}
	return fmt.Errorf("%s %w, of another run: %s\n  hint: give the same inputs and options, or %s", path, option.ErrExists,
		strings.Join(differences, "; "), startAnew)
}

func orNone(s string) string {
	if s == "" {
		return "not there"
	}
	return s
}

// manifestValues is a manifest's values by their paths, without tallies and negatives.
func manifestValues(m *negatives.Manifest) map[string]string {
	values := map[string]string{}
	flatten(values, "", m.OfRun())
	return values
}

// flatten adds the JSON values of v, by path.
func flatten(to map[string]string, path string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only plain values are given
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(b, &object) != nil {
		to[path] = string(b)
		return
	}
	for key, value := range object {
		if path != "" {
			key = path + "." + key
		}
		flatten(to, key, value)
	}
}
