package host_test

import (
	"context"
	"fmt"
	"log"

	"github.com/quarry-hn/quarry/host"
	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/testdata/demo"
)

// Mine the paper's hard negatives of a folder: fit, then mine through the plugin.
func ExampleMine() {
	ctx := context.Background()
	folder, err := dataset.OpenFS(demo.FS, "demo") // or dataset.Open("mydata")
	if err != nil {
		log.Fatal(err)
	}
	defer folder.Close()
	projection, err := host.Fit(ctx, folder, host.FitOptions{Variance: 0.95})
	if err != nil {
		log.Fatal(err)
	}
	result, err := host.Mine(ctx, folder, projection, host.MineOptions{Rule: "dual", Top: 3})
	if err != nil {
		log.Fatal(err)
	}
	first := result.Pairs[0]
	fmt.Println(first.QueryID, first.PositiveID, first.Negatives[0].ID)
	// Output: q01 d001 d002
}
