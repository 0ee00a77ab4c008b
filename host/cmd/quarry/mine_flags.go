package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/quarry-hn/quarry/host/mining"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/sampler"
	"github.com/quarry-hn/quarry/plugin/message"
	"github.com/quarry-hn/quarry/plugin/mine"
)

// twinsHelp is the help of --twins.
const twinsHelp = "documents that equal a positive of the query, in title and text or in the vectors of all models: exclude, or keep"

// mineFlags are what to mine. The rules, and the flags of their parameters, are those of mine.Rules.
type mineFlags struct {
	split, rule     string
	parameters      map[string]*float64 // of rules, by name
	top             int
	counts          bool
	positives, self string
	twins           string
	zero, missing   string
}

func (f *mineFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.split, "split", mining.DefaultSplit,
		"pairs to mine: train, test, another file of qrels/, or all (train first). A document judged relevant to a query in any split is never mined as its negative")
	flags.StringVar(&f.rule, "rule", mine.Rules[0].Name, "which documents are negatives"+rulesHelp()+"\n")
	f.parameters = map[string]*float64{}
	for _, p := range mine.RuleParameters() {
		f.parameters[p.Name] = flags.Float64(p.Name, p.Default, "for --rule "+strings.Join(rulesWith(p), " and ")+": "+p.Help)
	}
	flags.IntVar(&f.top, "top", message.DefaultTop, "negatives of a pair at most")
	flags.BoolVar(&f.counts, "counts", false, "count all documents in the rule's window and all candidates, exactly; slower")
	flags.StringVar(&f.positives, "positives", mining.PositivesEach, "with several positives: each is mined alone, or all must satisfy the rule")
	flags.StringVar(&f.self, "self", mining.SelfExclude, "a document with the query's own id: exclude, or keep")
	flags.StringVar(&f.twins, "twins", mining.TwinsExclude, twinsHelp)
	flags.StringVar(&f.zero, "zero", option.ZeroError, "zero vectors, which have no cosine: error, or skip")
	flags.StringVar(&f.missing, "missing", mining.MissingError, "pairs whose query or positive is not there: error, or skip")
}

// rulesHelp says what each rule takes, the default first.
func rulesHelp() string {
	var rules [][2]string
	for _, d := range mine.Rules {
		rules = append(rules, [2]string{d.Name, d.Help})
	}
	return listed(rules)
}

// listed puts names and what they mean on lines of their own, below a flag.
func listed(entries [][2]string) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "\n  %-13s  %s", e[0], e[1])
	}
	return b.String()
}

// rulesWith names the rules that take a parameter.
func rulesWith(p *mine.Parameter) (names []string) {
	for _, d := range mine.Rules {
		if slices.Contains(d.Parameters, p) {
			names = append(names, d.Name)
		}
	}
	return names
}

func (f *mineFlags) options(flags *pflag.FlagSet) (mining.Options, error) {
	if flags.Changed("top") && f.top == 0 {
		return mining.Options{}, usageError{errors.New("--top is 0; it is above 0")}
	}
	o := mining.Options{Split: f.split, Rule: f.rule, Parameters: map[string]float64{}, Top: f.top, Counts: f.counts,
		Positives: f.positives, Self: f.self, Twins: f.twins, Zero: f.zero, Missing: f.missing}
	rule, err := sampler.ParseRule(f.rule)
	t, alone := rule.Window()
	if err == nil && alone { // what a rule says of its own is an option of mining
		o.Rule = t.Name
		maps.Copy(o.Parameters, t.Parameters)
	}
	for _, p := range mine.RuleParameters() {
		if !flags.Changed(p.Name) {
			continue
		}
		with := rulesWith(p)
		takes := func(t sampler.Term) bool { return slices.Contains(with, t.Name) }
		if err == nil && !slices.ContainsFunc(rule.Terms, takes) {
			return o, usageError{fmt.Errorf("--%s is for --rule %s, and the rule is %s", p.Name, strings.Join(with, " or "), f.rule)}
		}
		for _, t := range rule.Terms {
			if _, twice := t.Parameters[p.Name]; twice {
				return o, usageError{fmt.Errorf("--%s and --rule %s both give %s: choose one", p.Name, f.rule, p.Name)}
			}
		}
		o.Parameters[p.Name] = *f.parameters[p.Name]
	}
	return o, nil
}
