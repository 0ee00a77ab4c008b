package message

import (
	"maps"
	"strconv"

	"github.com/quarry-hn/quarry/plugin/abi"
	"github.com/quarry-hn/quarry/plugin/mine"
	"github.com/quarry-hn/quarry/plugin/safetensors"
)

// Begin is the message of begin: the pairs to mine, and what to mine for them.
type Begin struct {
	Queries   Vectors // each query once
	Positives Vectors // each positive document once
	mine.Indices
	Options mine.Options // an empty Projection stands for that of the loaded projection
}

// Encode gives the message's tensors and options.
func (b *Begin) Encode() ([]safetensors.Tensor, map[string]string) {
	return b.Tensors(), EncodeOptions(&b.Options)
}

// Tensors gives the message's tensors: the vectors, pairs, and excluded documents, and the positives that go together
// where there are any.
func (b *Begin) Tensors() []safetensors.Tensor {
	tensors := append(b.Queries.Tensors(abi.TensorQueries), b.Positives.Tensors(abi.TensorPositives)...)
	add := func(name string, values []int64) {
		tensors = append(tensors, safetensors.OfInt64(name, values, len(values)))
	}
	add(abi.TensorPairQuery, b.PairQuery)
	add(abi.TensorPairPositive, b.PairPositive)
	if len(b.ExcludeOffsets) > 0 {
		add(abi.TensorExcludeOffsets, b.ExcludeOffsets)
		add(abi.TensorExclude, b.Exclude)
	}
	if len(b.Together) > 0 {
		add(abi.TensorTogetherOffsets, b.TogetherOffsets)
		add(abi.TensorTogether, b.Together)
	}
	return tensors
}

// EncodeOptions gives the options of a begin message. A rule of the table is given by its name and the values of its
// parameters.
func EncodeOptions(o *mine.Options) map[string]string {
	options := map[string]string{
		abi.OptionRule: o.Rule.Name, abi.OptionTop: strconv.Itoa(o.Top), abi.OptionCounts: strconv.FormatBool(o.Counts), abi.OptionZero: encodeZero(o.SkipZero),
	}
	if o.Projection != "" {
		options[abi.OptionProjection] = o.Projection
	}
	if o.PairsID != "" {
		options[abi.OptionPairsID] = o.PairsID
	}
	if o.Rule.Name != mine.WindowRule {
		for name, value := range o.Rule.Parameters {
			options[name] = strconv.FormatFloat(value, 'g', -1, 64)
		}
		return options
	}
	options[abi.OptionEq6] = strconv.FormatBool(o.Rule.Eq6)
	if o.Rule.Floor != nil {
		options[abi.OptionFloor] = o.Rule.Floor.String()
	}
	if o.Rule.Cap != nil {
		options[abi.OptionCap] = o.Rule.Cap.String()
	}
	return options
}

// DecodeBegin reads a begin message. Its indices are copies; its vectors stay in the message. loaded is nil where no
// projection is.
func DecodeBegin(r *Reader, loaded *Loaded) (*Begin, error) {
	b, err := r.begin(loaded)
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (r *Reader) begin(loaded *Loaded) (*Begin, error) {
	b := &Begin{Options: r.mineOptions(loaded)}
	queries, err := r.vectors(abi.TensorQueries, loaded)
	if err != nil {
		return nil, err
	}
	positives, err := r.vectors(abi.TensorPositives, loaded)
	if err != nil {
		return nil, err
	}
	for _, v := range []struct {
		tensor string
		rows   int
	}{{abi.TensorQueries, queries.Rows}, {abi.TensorPositives, positives.Rows}} {
		if v.rows == 0 {
			return nil, abi.Errorf(abi.BadMessage, "there are no rows").At(v.tensor, -1)
		}
	}
	if queries.Width != positives.Width {
		return nil, abi.Errorf(abi.Mismatch, "width is %d; queries have %d", positives.Width, queries.Width).At(abi.TensorPositives, -1)
	}
	b.Queries, b.Positives = *queries, *positives
	b.Indices = mine.Indices{
		PairQuery: r.int64s(abi.TensorPairQuery), PairPositive: r.int64s(abi.TensorPairPositive),
		ExcludeOffsets: r.int64s(abi.TensorExcludeOffsets), Exclude: r.int64s(abi.TensorExclude),
		TogetherOffsets: r.int64s(abi.TensorTogetherOffsets), Together: r.int64s(abi.TensorTogether),
	}
	return b, nil
}

// mineOptions reads the options of begin. Where a projection is loaded, theirs has to be that one.
func (r *Reader) mineOptions(loaded *Loaded) mine.Options {
	fingerprint := ""
	if loaded != nil {
		fingerprint = loaded.Fingerprint
	}
	o := mine.Options{
		Rule:       r.rule(),
		Top:        int(r.int(abi.OptionTop, DefaultTop, 1, abi.MaxTop)),
		Counts:     r.choice(abi.OptionCounts, "false", "true"),
		SkipZero:   r.skipZero(),
		PairsID:    r.option(abi.OptionPairsID, ""),
		Projection: r.option(abi.OptionProjection, fingerprint),
	}
	if loaded != nil && o.Projection != fingerprint {
		r.fail(abi.Errorf(abi.Mismatch, "option projection is %q; loaded is %q", o.Projection, fingerprint))
	}
	if len(o.PairsID) > abi.MaxPairsID || len(o.Projection) > abi.MaxPairsID {
		r.fail(abi.Errorf(abi.Limit, "pairs_id and projection take at most %d bytes", abi.MaxPairsID))
	}
	return o
}

// DefaultTop is how many negatives of a pair there are at most where a message does not say.
const DefaultTop = 5

// rule reads the options that make the rule. Every rule but window accepts the parameters of all rules.
func (r *Reader) rule() mine.Rule {
	name := r.option(abi.OptionRule, mine.Rules[0].Name)
	if name == mine.WindowRule {
		return mine.Rule{Name: name, Floor: r.bound(abi.OptionFloor), Cap: r.bound(abi.OptionCap), Eq6: r.choice(abi.OptionEq6, "false", "true")}
	}
	parameters := map[string]float64{}
	for _, p := range mine.RuleParameters() {
		parameters[p.Name] = r.float(p.Name, p.Default)
	}
	rule, err := mine.NewRule(name, parameters)
	r.fail(err)
	return rule
}

// bound reads an optional bound of the window rule.
func (r *Reader) bound(name string) *mine.Bound {
	text, given := r.lookup(name)
	if !given {
		return nil
	}
	b, err := mine.ParseBound(text)
	r.fail(err)
	return b
}

// Select is the message of select: those of begin and push together.
type Select struct {
	Begin
	Push
}

// Encode gives the message's tensors and options.
func (s *Select) Encode() ([]safetensors.Tensor, map[string]string) {
	tensors, options := s.Begin.Encode()
	documents, first := s.Push.Encode()
	maps.Copy(options, first)
	return append(tensors, documents...), options
}

// DecodeSelect reads a select message, as DecodeBegin and DecodePush do.
func DecodeSelect(r *Reader, loaded *Loaded) (*Select, error) {
	b, err := r.begin(loaded)
	if err != nil {
		return nil, err
	}
	p, err := DecodePush(r, loaded)
	if err != nil {
		return nil, err
	}
	return &Select{*b, *p}, nil
}
