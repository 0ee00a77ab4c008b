// Package option holds what the options of every room of host have in common: how wrong options are reported, how progress is told, and how
// much memory there is to plan with.
//
// Packages projection, mining, run and job take such options; the command line fills them in.
package option

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// Problems collects what is wrong with options. Its zero value is empty.
type Problems []error

// Check adds a problem where ok is false.
func (p *Problems) Check(ok bool, format string, args ...any) {
	if !ok {
		*p = append(*p, fmt.Errorf("%w: "+format, append([]any{ErrOption}, args...)...))
	}
}

// OneOf adds a problem where *value is none of the choices. An empty value becomes the first choice.
func (p *Problems) OneOf(name string, value *string, choices ...string) {
	if *value == "" {
		*value = choices[0]
	}
	p.Check(slices.Contains(choices, *value), "%s is %s; it is one of %s", name, excerpt.Quote(*value), strings.Join(choices, ", "))
}

// Err returns all problems as one error, or nil.
func (p Problems) Err() error { return errors.Join(p...) }

// Threads is the number of goroutines for an option that was given as n: n, or all cores where it is 0.
func Threads(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// What becomes of a vector that is zero, whose cosine is undefined.
const (
	ZeroError = "error" // the work fails and names file and row
	ZeroSkip  = "skip"  // the vector is left out and counted
)
