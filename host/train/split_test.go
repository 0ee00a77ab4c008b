package train

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/quarry-hn/quarry/host/dataset/beir"
)

func TestComponents(t *testing.T) {
	t.Parallel()
	got := Components(map[string][]string{"a": {"1"}, "b": {"2", "3"}, "c": {"4"}, "d": {"3", "1"}, "e": {"5"}, "f": {"4"}})
	if want := [][]string{{"a", "b", "d"}, {"c", "f"}, {"e"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("components %v; want %v", got, want)
	}
}

// TestNoSharedPositive cuts made judgements, and real ones where there are any: no document is a positive on two sides, every query is on
// exactly one, and the sides have about their shares.
func TestNoSharedPositive(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	made := map[string][]string{}
	for q := range 500 {
		for range 1 + random.IntN(2) {
			made[fmt.Sprint("q", q)] = append(made[fmt.Sprint("q", q)], fmt.Sprint("d", random.IntN(1500)))
		}
	}
	checkCuts(t, "made", made)
	if folder := os.Getenv("QUARRY_DATA"); folder != "" {
		data, err := beir.Open(folder + "/scifact")
		if err != nil {
			t.Skip(err)
		}
		defer data.Close()
		checkCuts(t, "scifact", Relevant(data))
	}
}

func checkCuts(t *testing.T, name string, relevant map[string][]string) {
	components := Components(relevant)
	for seed := range uint64(20) {
		split := Cut(components, seed)
		sideOf, count := map[string]int{}, 0
		for side, queries := range [][]string{split.Train, split.Validation, split.Test} {
			for _, q := range queries {
				count++
				for _, d := range relevant[q] {
					if other, seen := sideOf[d]; seen && other != side {
						t.Fatalf("%s, seed %d: document %s is a positive on sides %d and %d", name, seed, d, other, side)
					}
					sideOf[d] = side
				}
			}
			if share := float64(len(queries)) / float64(len(relevant)); share < shares[side]-0.05 || share > shares[side]+0.05 {
				t.Errorf("%s, seed %d: side %d has %.2f of the queries; want %.2f", name, seed, side, share, shares[side])
			}
		}
		if count != len(relevant) {
			t.Errorf("%s, seed %d: %d queries of %d are on a side", name, seed, count, len(relevant))
		}
		if again := Cut(components, seed); !reflect.DeepEqual(split, again) {
			t.Errorf("%s: seed %d gives two cuts", name, seed)
		}
		if seed > 0 && slices.Equal(split.Test, Cut(components, seed-1).Test) {
			t.Errorf("%s: seeds %d and %d give the same cut", name, seed-1, seed)
		}
	}
}
