package audit

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/quarry-hn/quarry/host/negatives"
)

// words are the words of the texts that a file of negatives names.
type words struct {
	number    map[string]int32 // of each word
	documents map[string]*document
	queries   map[string][]int32 // distinct words
	frequency []int              // documents that have a word, by its number
}

// document is a document's words, in order and without repeats, and its shingles.
type document struct {
	distinct []int32
	shingles [][3]int32
}

// noWord fills the shingle of a text of fewer than three words.
const noWord = -1

// newWords reads the words of all documents that the texts have. Their document frequencies are those among these documents.
func newWords(texts *negatives.Texts) *words {
	w := &words{number: map[string]int32{}, documents: make(map[string]*document, len(texts.Documents)), queries: map[string][]int32{}}
	// Queries go first, in order, so that the numbers of their words, and with them the order of the sums of coverage, are the same each time.
	for _, id := range slices.Sorted(maps.Keys(texts.Queries)) {
		sequence := w.tokens(texts.Queries[id].Title + " " + texts.Queries[id].Text)
		slices.Sort(sequence)
		w.queries[id] = slices.Compact(sequence)
	}
	for id := range texts.Documents {
		sequence := w.tokens(texts.Document(id, " "))
		d := &document{shingles: shinglesOf(sequence)}
		slices.Sort(sequence)
		d.distinct = slices.Clone(slices.Compact(sequence))
		w.documents[id] = d
	}
	w.frequency = make([]int, len(w.number))
	for _, d := range w.documents {
		for _, word := range d.distinct {
			w.frequency[word]++
		}
	}
	return w
}

// tokens are the numbers of the words of a text: runs of letters and digits, in lower case.
func (w *words) tokens(text string) (sequence []int32) {
	for _, word := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		number, ok := w.number[word]
		if !ok {
			number = int32(len(w.number))
			w.number[strings.Clone(word)] = number
		}
		sequence = append(sequence, number)
	}
	return sequence
}

// shinglesOf are the runs of three words, in ascending order and without repeats. A text of fewer words has one shingle, an empty one none.
func shinglesOf(sequence []int32) (shingles [][3]int32) {
	for i := range sequence {
		if i > 0 && i+3 > len(sequence) {
			break
		}
		shingle := [3]int32{noWord, noWord, noWord}
		copy(shingle[:], sequence[i:])
		shingles = append(shingles, shingle)
	}
	slices.SortFunc(shingles, compareShingles)
	return slices.Clip(slices.Compact(shingles))
}

func compareShingles(a, b [3]int32) int {
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[2], b[2]))
}

// signals fills in the signals that come from words. Positives that the data set lacks are passed over.
func (w *words) signals(s *Signals, p negatives.Pair, id string, positives []string) {
	s.Coverage, s.PositiveCoverage = w.coverage(p.QueryID, id), w.coverage(p.QueryID, p.PositiveID)
	for _, positive := range positives {
		if d, ok := w.documents[positive]; ok {
			s.Jaccard = max(s.Jaccard, jaccard(d.shingles, w.documents[id].shingles))
		}
	}
}

// coverage is the share of the query's words that a document has, each weighted by its idf, ln(1 + (n - f + 0.5) / (f + 0.5)) for f of n
// documents. It is 0 for a query without words.
func (w *words) coverage(query, id string) float64 {
	all, found := 0.0, 0.0
	for _, word := range w.queries[query] {
		n, f := float64(len(w.documents)), float64(w.frequency[word])
		idf := math.Log(1 + (n-f+0.5)/(f+0.5))
		all += idf
		if _, has := slices.BinarySearch(w.documents[id].distinct, word); has {
			found += idf
		}
	}
	if all == 0 {
		return 0
	}
	return found / all
}

// jaccard is the share of shingles that two documents have in common, of all that either has. The texts to be compared are known, so that there
// is no need to sketch them first, as by MinHash.
func jaccard(a, b [][3]int32) float64 {
	common := 0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch c := compareShingles(a[i], b[j]); {
		case c < 0:
			i++
		case c > 0:
			j++
		default:
			common, i, j = common+1, i+1, j+1
		}
	}
	if either := len(a) + len(b) - common; either > 0 {
		return float64(common) / float64(either)
	}
	return 0
}
