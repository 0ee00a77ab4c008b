package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// judgementColumns are what a judgement has, of which split may be missing.
var judgementColumns = []string{"query_id", "document_id", "score", "split"}

// judgements are those of all splits.
type judgements struct {
	*relation
	query, document, score column
	split                  column // without a name where all are of train
	rows                   int
}

func (i *importer) judgements(ctx context.Context, s Source) (*judgements, error) {
	r, err := i.relation(ctx, "qrels", s)
	if err != nil {
		return nil, err
	}
	j := &judgements{relation: r}
	for k, to := range []*column{&j.query, &j.document, &j.score} {
		if *to, err = r.need(judgementColumns[k]); err != nil {
			return nil, err
		}
	}
	j.split, _ = r.find("split")
	j.rows, err = r.count(ctx)
	return j, err
}

// check fails where a judgement is of an id that is not there, or a pair has two scores. The server looks for them, since
// all ids would not fit into memory.
func (j *judgements) check(ctx context.Context, documents, queries *side) error {
	for _, of := range []struct {
		column
		*side
		what string
	}{{j.query, queries, "query"}, {j.document, documents, "document"}} {
		id := of.column.sql() + "::text"
		// A null is found where the rows are read.
		find := fmt.Sprintf("select %s, %s::text, %s::text from %s where %s is not null and not exists (select from (select %s::text as id from %s) as known where known.id = rows.%s)%s limit 1",
			id, j.query.sql(), j.document.sql(), j.sql, id, of.side.id.sql(), of.side.sql, id, inOrder(j.query, j.document))
		err := j.each(ctx, j.name, find, func(row [][]byte) error {
			return dataset.FileError(j.name, fmt.Sprintf("add it there, or leave the judgement out by a query: --qrels 'select * from … where %s in (select …)'", of.column.name),
				"column %s: there is no %s %s in %s; it is judged with query %s and document %s", excerpt.Quote(of.column.name), of.what, excerpt.Quote(row[0]), of.side.name, excerpt.Quote(row[1]), excerpt.Quote(row[2]))
		})
		if err != nil {
			return err
		}
	}
	twice := fmt.Sprintf("select %s::text, %s::text, min(%s::text), max(%s::text) from %s group by 1, 2 having count(distinct %s) > 1 order by 1, 2 limit 1",
		j.query.sql(), j.document.sql(), j.score.sql(), j.score.sql(), j.sql, j.score.sql())
	return j.each(ctx, j.name, twice, func(row [][]byte) error {
		return dataset.FileError(j.name, "keep one of them, or give a query that has each pair once", "column %s: query %s and document %s have two scores, %s and %s",
			excerpt.Quote(j.score.name), excerpt.Quote(row[0]), excerpt.Quote(row[1]), row[2], row[3])
	})
}

// copy writes a file for each split, and returns how many judgements each has.
func (j *judgements) copy(ctx context.Context) (splits map[string]int, err error) {
	split, order := "'train'", []column{j.query, j.document}
	if j.split.name != "" {
		split, order = j.split.sql()+"::text", []column{j.split, j.query, j.document}
	}
	find := fmt.Sprintf("select %s, %s::text, %s::text, %s::text from %s%s", split, j.query.sql(), j.document.sql(), j.score.sql(), j.sql, inOrder(order...))
	splits = map[string]int{}
	done := j.progress.Count("read qrels", j.rows)
	var file *atomicfile.File
	err = j.each(ctx, j.name, find, func(row [][]byte) error {
		if err := j.checkRow(row); err != nil {
			return err
		}
		name := string(row[0])
		if splits[name] == 0 {
			if file != nil {
				if err := file.Close(); err != nil {
					return err
				}
			}
			if file, err = j.out.Create("qrels/" + name + ".tsv"); err != nil {
				return err
			}
			if _, err := io.WriteString(file, "query-id\tcorpus-id\tscore\n"); err != nil {
				return err
			}
		}
		splits[name]++
		done(1)
		_, err := fmt.Fprintf(file, "%s\t%s\t%s\n", row[1], row[2], row[3])
		return err
	})
	if file != nil {
		err = errors.Join(err, file.Close())
	}
	return splits, err
}

// checkRow fails where a judgement has no ids, no score or no split.
func (j *judgements) checkRow(row [][]byte) error {
	bad := func(c column, problem string) error {
		return dataset.FileError(j.name, "mend the row, or leave it out by a query: --qrels 'select * from … where …'", "column %s, query %s, document %s: %s",
			excerpt.Quote(c.name), excerpt.Quote(row[1]), excerpt.Quote(row[2]), problem)
	}
	if !isFileName(string(row[0])) {
		return bad(j.split, fmt.Sprintf("split %s is null, or no name for a file", excerpt.Quote(row[0])))
	}
	for k, c := range []column{j.query, j.document} {
		if problem := idProblem(row[1+k]); problem != "" {
			return bad(c, problem)
		}
	}
	if score, err := strconv.ParseFloat(string(row[3]), 64); err != nil || score-score != 0 {
		return bad(j.score, fmt.Sprintf("score %s is null, or no finite number", excerpt.Quote(row[3])))
	}
	return nil
}
