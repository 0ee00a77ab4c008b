package mining

import (
	"context"

	"github.com/quarry-hn/quarry/host/engine"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// Compute says how to compute, not what: the result does not depend on it.
type Compute struct {
	// Engine runs the plugin. nil means the embedded module, compiled by wazero with the default cache.
	Engine engine.Engine
	// Threads is the number of goroutines, and of plugin instances. 0 means all cores.
	Threads int
	// BlockRows is how many rows go to the plugin in one call. 0 means as many as take the engine about 50 ms. The context is looked at
	// between calls.
	BlockRows int
	// PartDocuments is how many documents are mined for one part. 0 means as many as take about half a minute.
	PartDocuments int
	// Memory is what the work may take, half of it in plugin instances. The zero value means the whole process with
	// option.DefaultMemory. Where the pairs do not fit, the documents are gone through several times.
	Memory option.Budget
	// Progress is told how far the work is; may be nil.
	Progress option.Progress
}

// check adds what is wrong with the options.
func (c Compute) check(errs *option.Problems) {
	errs.Check(c.Threads >= 0, "threads is %d; it is 1 or more, or 0 for all cores", c.Threads)
	errs.Check(c.PartDocuments >= 0, "part documents is %d; it is 1 or more, or 0 to choose", c.PartDocuments)
	errs.Check(c.Memory.Bytes >= 0, "memory is %d; it is above 0, or 0 for the default", c.Memory.Bytes)
	errs.Check(c.BlockRows >= 0, "block rows is %d; it is 1 or more, or 0 to choose", c.BlockRows)
}

// openEngine returns the engine to use, and a function that closes it where it is not the caller's.
func (c Compute) openEngine(ctx context.Context) (engine.Engine, func() error, error) {
	if c.Engine != nil {
		return c.Engine, func() error { return nil }, nil
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

// What becomes of twins: documents whose title and text, or whose vectors of all models, equal those of a document that
// is judged relevant to the query. Each is that document under another id.
const (
	TwinsExclude = "exclude"
	TwinsKeep    = "keep"
)

// What becomes of a pair whose query or positive is not in the dataset.
const (
	MissingError = "error"
	MissingSkip  = "skip"
)

// DefaultSplit is the split whose pairs are mined where nothing is said: negatives are for training.
const DefaultSplit = "train"

// Options say what to mine. The zero value is the paper's method on the train split, five negatives a pair.
type Options struct {
	Compute

	Split string // a qrels file's name without .tsv, or "all"; empty means DefaultSplit
	Rule  string // a name in mine.Rules; default "dual", the paper's
	// Parameters are values of the rule's parameters, by name, such as {"margin": 0.1}. One that is not given has the default of mine.Rules.
	Parameters map[string]float64
	Top        int         // negatives of a pair at most; 0 means message.DefaultTop, 5
	Counts     bool        // count all documents in the window, and all candidates
	Positives  string      // PositivesEach (default) or PositivesAll
	Self       string      // SelfExclude (default) or SelfKeep
	Twins      string      // TwinsExclude (default) or TwinsKeep
	Search     *TwinSearch // what several plans of one data set share to look for twins once; nil looks for one plan
	Zero       string      // option.ZeroError (default) or option.ZeroSkip
	Missing    string      // MissingError (default) or MissingSkip
}

// Validate reports all that is wrong with the options.
func (o Options) Validate() error {
	_, _, err := o.withDefaults()
	return err
}

// withDefaults fills in defaults and returns the rule, or all that is wrong.
func (o Options) withDefaults() (Options, mine.Rule, error) {
	var errs option.Problems
	if o.Split == "" {
		o.Split = DefaultSplit
	}
	if o.Top == 0 {
		o.Top = message.DefaultTop
	}
	errs.OneOf("rule", &o.Rule, mine.RuleNames()...)
	errs.OneOf("positives", &o.Positives, PositivesEach, PositivesAll)
	errs.OneOf("self", &o.Self, SelfExclude, SelfKeep)
	errs.OneOf("twins", &o.Twins, TwinsExclude, TwinsKeep)
	errs.OneOf("zero", &o.Zero, option.ZeroError, option.ZeroSkip)
	errs.OneOf("missing", &o.Missing, MissingError, MissingSkip)
	errs.Check(o.Top >= 1 && o.Top <= abi.MaxTop, "top is %d; it goes from 1 to %d", o.Top, abi.MaxTop)
	o.Compute.check(&errs)
	if mine.LookupRule(o.Rule) == nil {
		return o, mine.Rule{}, errs.Err()
	}
	rule, err := mine.NewRule(o.Rule, o.Parameters)
	errs.Check(err == nil, "%v", excerpt.Error(err))
	return o, rule, errs.Err()
}
