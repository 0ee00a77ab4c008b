package train

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/negatives"
)

// Which pairs a run trains on.
const (
	PairsAll  = "all"  // every pair that the rule gives a negative
	PairsDual = "dual" // of those, the ones that dual gives a negative too
)

// dualRule is the rule whose pairs PairsDual means.
const dualRule = "dual"

// validations is how often an epoch is validated. Rules without a cap lose by their last state what they gain by their best.
const validations = 4

// slack is how far the margin lies above the median of the rule's gaps: in cosine distance, and in a cross-encoder's logits.
var slack = map[string]float64{BiEncoder: 0.05, CrossEncoder: 1}

// warmUpPairs is how many titles a cross-encoder is made of, at most.
const warmUpPairs = 8000

// validationDepth is how many candidates of a validation query are ranked: validation runs often, and only compares states.
const validationDepth = 10

// run is one training of a comparison.
type run struct {
	source *Source
	pairs  string // PairsAll or PairsDual
	seed   int    // from 0
	rate   float64
	job    *job
	result *result
}

// planner makes the jobs of a comparison.
type planner struct {
	*Options
	*corpus
	trainer, weights string // fingerprints
	model            string // the folder that is trained, or empty
	withDual         map[[2]string]bool
}

// plan gives the runs of all sources, and the job that makes a cross-encoder, or nil where there is one. Runs of one seed go together, so
// that a comparison that is cut short has whole seeds.
func (o *Options) plan(c *corpus, sources []Source) (runs []*run, warmUp *job, err error) {
	p := &planner{Options: o, corpus: c, model: o.Model}
	if _, p.trainer, err = sourceFiles(); err != nil {
		return nil, nil, err
	}
	if o.Model != "" {
		if p.model, err = filepath.Abs(o.Model); err != nil {
			return nil, nil, err
		}
		if p.weights, err = weightsOf(p.model); err != nil {
			return nil, nil, err
		}
	}
	needed, err := o.needsWarmUp()
	if err != nil {
		return nil, nil, err
	}
	if needed {
		if warmUp, err = p.warmUp(); err != nil {
			return nil, nil, err
		}
		p.model = warmUp.Output
	}
	p.withDual = pairsOfDual(sources)
	for seed := range o.Seeds {
		split := Cut(c.components, o.Seed+uint64(seed))
		for i := range sources {
			of, err := p.runsOf(&sources[i], seed, split)
			if err != nil {
				return nil, nil, err
			}
			runs = append(runs, of...)
		}
	}
	return runs, warmUp, nil
}

// pairsOfDual are the pairs that dual gives a negative; nil where dual is not among the sources.
func pairsOfDual(sources []Source) map[[2]string]bool {
	at := slices.IndexFunc(sources, func(s Source) bool { return s.Name == dualRule })
	if at < 0 {
		return nil
	}
	pairs := map[[2]string]bool{}
	for _, p := range sources[at].Pairs {
		if len(p.Negatives) > 0 {
			pairs[[2]string{p.QueryID, p.PositiveID}] = true
		}
	}
	return pairs
}

// needsWarmUp reports whether a cross-encoder is to be trained and Model is none.
func (o *Options) needsWarmUp() (bool, error) {
	if o.Trainee != CrossEncoder || o.Model == "" {
		return o.Trainee == CrossEncoder, nil
	}
	path := filepath.Join(o.Model, "config.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return false, dataset.ReadError(path, err)
	}
	var config struct {
		Architectures []string `json:"architectures"`
	}
	if err := json.Unmarshal(b, &config); err != nil {
		return false, dataset.FileError(path, "name the folder of a model", "it is no model's configuration: %v", err)
	}
	return !slices.ContainsFunc(config.Architectures, func(a string) bool { return strings.HasSuffix(a, "ForSequenceClassification") }), nil
}

func (p *planner) warmUp() (*job, error) {
	j := p.base(kindWarmUp)
	j.Name, j.Pairs, j.Count, j.LearningRate, j.Seed = kindWarmUp, titlesFile, warmUpPairs, 5e-5, p.Seed
	return j, j.seal()
}

// base is what all jobs have in common.
func (p *planner) base(kind string) *job {
	return &job{Kind: kind, Trainer: p.trainer, Data: p.data, Trainee: p.Trainee, Model: p.model, Weights: p.weights, Batch: p.Batch, MaxTokens: p.MaxTokens, Half: p.Half, Layers: p.Layers}
}

// runsOf gives the runs of a source under a seed: for each learning rate, on all pairs, and on those of dual.
func (p *planner) runsOf(s *Source, seed int, split Split) (runs []*run, err error) {
	rates, subsets := p.LearningRates, []string{PairsAll}
	if s.Name == None {
		rates = rates[:1]
	}
	if p.withDual != nil && !p.NoDual && s.Name != None && s.Name != dualRule {
		subsets = append(subsets, PairsDual)
	}
	for _, subset := range subsets {
		for _, rate := range rates {
			j := p.jobOf(s, subset, seed, split)
			if j.LearningRate = rate; j.Epochs == 0 {
				j.LearningRate = 0
			}
			if err := j.seal(); err != nil {
				return nil, err
			}
			runs = append(runs, &run{source: s, pairs: subset, seed: seed, rate: rate, job: j})
		}
	}
	return runs, nil
}

func (p *planner) jobOf(s *Source, subset string, seed int, split Split) *job {
	j := p.base(kindTrain)
	j.Name, j.Seed = "quarry."+s.Name, p.Seed+uint64(seed)
	j.Documents, j.Queries, j.Relevant = documentsFile, queriesFile, map[string][]string{}
	j.Margin, j.Slack, j.InBatch, j.Epochs, j.Validations, j.WarmUpShare = p.Margin, slack[p.Trainee], s.InBatch, p.Epochs, validations, 0.1
	j.PerStep, j.Dynamic = p.PerStep, s.Dynamic
	if j.Train = p.trainPairs(s, subset, j.Seed, split.Train); len(j.Train) == 0 {
		j.Epochs = 0
	}
	j.Validation = p.part(shuffled(split.Validation, j.Seed), p.Validation, validationDepth)
	j.Test = p.part(shuffled(split.Test, j.Seed), p.Test, p.Candidates)
	j.Test.AllDocuments = p.Trainee == BiEncoder && !p.PoolOnly
	for _, pair := range j.Train {
		j.Relevant[pair.Query] = p.relevant[pair.Query]
	}
	for _, part := range []rankPart{j.Validation, j.Test} {
		for q := range part.Candidates {
			j.Relevant[q] = p.relevant[q]
		}
	}
	return j
}

// trainPairs chooses up to TrainPairs pairs of the training side, the same for every source, and leaves out those that it has no negatives of,
// or that dual has none of where the subset says so. On PairsDual a rule so trains on the pairs that dual trains on.
func (p *planner) trainPairs(s *Source, subset string, seed uint64, queries []string) []trainPair {
	pairs := []trainPair{}
	if s.Name == None {
		return pairs
	}
	given := map[[2]string][]negatives.Negative{}
	for _, pair := range s.Pairs {
		given[[2]string{pair.QueryID, pair.PositiveID}] = pair.Negatives
	}
	most, chosen := p.TrainPairs, 0
	if s.TrainPairs > 0 {
		most = s.TrainPairs
	}
	for _, q := range shuffled(queries, seed) {
		for _, positive := range p.relevant[q] {
			key := [2]string{q, positive}
			if chosen == most {
				continue
			}
			chosen++
			if subset == PairsDual && !p.withDual[key] || len(given[key]) == 0 && !s.InBatch && !s.positives && s.Dynamic == 0 {
				continue
			}
			pair := trainPair{Query: q, Positive: positive, Negatives: []string{}}
			for _, n := range given[key] {
				pair.Negatives = append(pair.Negatives, n.ID)
			}
			pairs = append(pairs, pair)
		}
	}
	return pairs
}

// part gives queries with what is ranked for them: for a bi-encoder, their positives are in the pool too, as they are in the corpus.
func (p *planner) part(queries []string, most, depth int) rankPart {
	part := rankPart{Candidates: map[string][]string{}}
	for i, q := range queries {
		if most > 0 && i == most {
			break
		}
		candidates := slices.Clone(p.nearest[q][:min(depth, len(p.nearest[q]))])
		if p.Trainee == BiEncoder {
			for _, d := range p.relevant[q] {
				if !slices.Contains(candidates, d) {
					candidates = append(candidates, d)
				}
			}
		}
		part.Candidates[q] = candidates
	}
	return part
}

// shuffled is a copy in an order that the seed chooses.
func shuffled(queries []string, seed uint64) []string {
	queries = slices.Clone(queries)
	random := rand.New(rand.NewPCG(seed, 0x6f72646572))
	random.Shuffle(len(queries), func(i, j int) { queries[i], queries[j] = queries[j], queries[i] })
	return queries
}
