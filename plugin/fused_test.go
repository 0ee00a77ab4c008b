package plugin_test

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// exact is the lines that may be fused, since their products are exact: those of two float32 values in float64, and by
// a power of two.
var exact = regexp.MustCompile(`\+= float64\(\w+\[\w+\]\) \* float64\(\w+\[\w+\]\)$`)

// TestNothingIsFused compiles these packages for arm64, where Go fuses a product with a sum unless the product is
// converted, and reads the assembly for instructions that are fused.
func TestNothingIsFused(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles the standard library for arm64")
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-S", "./...")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=")
	assembly, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, assembly[max(0, len(assembly)-2000):])
	}
	fused := regexp.MustCompile(`\(([^()]+):(\d+)\)\t(?:FN?M(?:ADD|SUB)[SD]|VFML[AS])\t`).FindAllSubmatch(assembly, -1)
	for _, at := range fused {
		b, err := os.ReadFile(string(at[1]))
		if err != nil {
			t.Fatal(err)
		}
		number, _ := strconv.Atoi(string(at[2]))
		if line := strings.Split(string(b), "\n")[number-1]; !exact.MatchString(line) {
			t.Errorf("%s:%d is fused: %s", at[1], number, strings.TrimSpace(line))
		}
	}
	if len(fused) < 9 {
		t.Errorf("only %d fused instructions were found: the dot product alone has 9", len(fused))
	}
}
