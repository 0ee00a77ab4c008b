package abi

// The tensors of messages. Package message says which operation takes which, of what type and shape.
const (
	TensorQueries         = "queries"
	TensorPositives       = "positives"
	TensorDocuments       = "documents"
	TensorPairQuery       = "pair_query"
	TensorPairPositive    = "pair_positive"
	TensorExclude         = "exclude"
	TensorExcludeOffsets  = TensorExclude + offsets
	TensorTogether        = "together"
	TensorTogetherOffsets = TensorTogether + offsets

	offsets = "_offsets"
)

// RawTensor is the name of the tensor with a model's raw vectors; of is TensorQueries, TensorPositives or
// TensorDocuments.
func RawTensor(of, model string) string { return of + "/" + model }

// OffsetsTensor is the name of the tensor that says where each row's entries of a ragged tensor begin.
func OffsetsTensor(of string) string { return of + offsets }

// The options of messages. A rule's parameters are options too, by their names in mine.Rules.
const (
	OptionRule        = "rule"
	OptionFloor       = "floor"
	OptionCap         = "cap"
	OptionEq6         = "eq6"
	OptionTop         = "top"
	OptionCounts      = "counts"
	OptionZero        = "zero"
	OptionProjection  = "projection"
	OptionPairsID     = "pairs_id"
	OptionFirst       = "first"
	OptionMemoryLimit = "memory_limit"
)
