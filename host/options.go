package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// Progress is told how far a stage of the work is. It may be called from several goroutines, and must not block.
type Progress func(stage string, done, total int64)

func (p Progress) report(stage string, done, total int64) {
	if p != nil {
		p(stage, done, total)
	}
}

// ErrOption is returned, wrapped, for options that are not valid. All that is wrong with them is reported together.
var ErrOption = errors.New("invalid option")

// optionErrors collects what is wrong with options.
type optionErrors []error

func (e *optionErrors) check(ok bool, format string, args ...any) {
	if !ok {
		*e = append(*e, fmt.Errorf("%w: "+format, append([]any{ErrOption}, args...)...))
	}
}

func (e *optionErrors) oneOf(name string, value *string, choices ...string) {
	if *value == "" {
		*value = choices[0]
	}
	e.check(slices.Contains(choices, *value), "%s is %q; it is one of %s", name, *value, strings.Join(choices, ", "))
}

func (e optionErrors) err() error { return errors.Join(e...) }

// Zero vectors, in options: fail, or leave them out and count them.
const (
	ZeroError = "error"
	ZeroSkip  = "skip"
)

// RunOptions say how to compute, not what: the result does not depend on them.
type RunOptions struct {
	// Engine runs the plugin; nil means the embedded module, compiled by wazero with the default cache.
	Engine engine.Engine
	// Threads is the number of goroutines, and of plugin instances; 0 means all cores.
	Threads int
	// BlockRows is how many rows go to the plugin in one call; 0 means as many as take it some 10 ms. Between calls the context is
	// looked at.
	BlockRows int
	// PartDocuments is how many documents are mined for one part; 0 means as many as take about half a minute.
	PartDocuments int
	// Memory is how many bytes the whole process may take, about half of it in plugin instances; 0 means DefaultMemory. Where the pairs do not
	// fit, the documents are gone through several times.
	Memory int64
	// Progress is told how far the work is; may be nil.
	Progress Progress
}

func (o RunOptions) threads() int {
	if o.Threads > 0 {
		return o.Threads
	}
	return runtime.GOMAXPROCS(0)
}

// open returns the engine to use, and what closes it if it is not the caller's.
func (o RunOptions) open(ctx context.Context) (engine.Engine, func() error, error) {
	if o.Engine != nil {
		return o.Engine, func() error { return nil }, nil
	}
	e, err := engine.Wasm(ctx, engine.WasmOptions{})
	if err != nil {
		return nil, nil, err
	}
	return e, func() error { return e.Close(context.WithoutCancel(ctx)) }, nil
}

// Which positives of a query the rule holds a document against.
const (
	PositivesEach = "each" // each (query, positive) pair is mined alone
	PositivesAll  = "all"  // all judged positives of the query must satisfy the rule
)

// What becomes of the document that has the query's own id.
const (
	SelfExclude = "exclude"
	SelfKeep    = "keep"
)

// What becomes of a pair whose query or positive is not in the folder.
const (
	MissingError = "error"
	MissingSkip  = "skip"
)

// MineOptions say what to mine. The zero value is the paper's method on the train split, five negatives a pair.
type MineOptions struct {
	RunOptions

	Split     string   // a qrels file's name without .tsv, or "all"; default "train"
	Rule      string   // a name in mine.Rules; default "dual", the paper's
	Margin    *float64 // for rule margin; 0 to 2; nil means 0.05
	Perc      float64  // for rules perc and capped; above 0, at most 1; 0 means 0.95
	Top       int      // negatives of a pair at most; 0 means 5
	Counts    bool     // count all documents in the window, and all candidates
	Positives string   // PositivesEach (default) or PositivesAll
	Self      string   // SelfExclude (default) or SelfKeep
	Zero      string   // ZeroError (default) or ZeroSkip
	Missing   string   // MissingError (default) or MissingSkip
}

// Validate reports all that is wrong with the options.
func (o MineOptions) Validate() error {
	_, _, err := o.withDefaults()
	return err
}

// withDefaults fills in defaults and returns the rule, or all that is wrong.
func (o MineOptions) withDefaults() (MineOptions, mine.Rule, error) {
	var errs optionErrors
	if o.Split == "" {
		o.Split = "train"
	}
	if o.Perc == 0 {
		o.Perc = mine.DefaultPerc
	}
	if o.Top == 0 {
		o.Top = 5
	}
	margin := mine.DefaultMargin
	if o.Margin != nil {
		margin = *o.Margin
	}
	errs.oneOf("rule", &o.Rule, mine.RuleNames()...)
	errs.oneOf("positives", &o.Positives, PositivesEach, PositivesAll)
	errs.oneOf("self", &o.Self, SelfExclude, SelfKeep)
	errs.oneOf("zero", &o.Zero, ZeroError, ZeroSkip)
	errs.oneOf("missing", &o.Missing, MissingError, MissingSkip)
	errs.check(o.Top >= 1 && o.Top <= abi.MaxTop, "top is %d; it goes from 1 to %d", o.Top, abi.MaxTop)
	errs.check(o.Threads >= 0, "threads is %d; it is 1 or more, or 0 for all cores", o.Threads)
	errs.check(o.PartDocuments >= 0, "part documents is %d; it is 1 or more, or 0 to choose", o.PartDocuments)
	errs.check(o.Memory >= 0, "memory is %d; it is above 0, or 0 for the default", o.Memory)
	errs.check(o.BlockRows >= 0, "block rows is %d; it is 1 or more, or 0 to choose", o.BlockRows)
	if slices.Contains(mine.RuleNames(), o.Rule) {
		rule, err := mine.NamedRule(o.Rule, margin, o.Perc)
		errs.check(err == nil, "%v", err)
		return o, rule, errs.err()
	}
	return o, mine.Rule{}, errs.err()
}
