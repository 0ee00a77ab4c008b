package main

import (
	"path/filepath"
	"testing"
)

func TestTrainFailures(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "python")
	runFailures(t, []failure{
		{name: "an unknown rule", line: "train ./data --rules best", code: exitUsage, says: []string{`"best"`, "dual, topk"}},
		{name: "an unknown trainee", line: "train ./data --trainee decoder", code: exitUsage, says: []string{"bi-encoder, cross-encoder"}},
		{name: "an unknown ablation", line: "train ./data --ablate weather", code: exitUsage, says: []string{"variance models train-size length"}},
		{name: "no Python", line: "train ./data --python " + none, code: exitUsage, says: []string{"make train-env", "--python"}},
		{name: "negatives without a name", line: "train ./data --negatives bm25.jsonl", code: exitUsage, says: []string{"NAME=negatives.jsonl"}},
	})
}
