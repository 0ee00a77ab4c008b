package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/dataset/postgres"
)

// importCommand is a command line of import.
type importCommand struct {
	options postgres.Options
	output  string
}

func (a *app) importCommand() *cobra.Command {
	var c importCommand
	cmd := &cobra.Command{
		Use: "import URL -o DIR", Short: "Copy tables of PostgreSQL with pgvector to a data folder", Args: cobra.ExactArgs(1),
		Long: `Copy documents, queries, judgements and vectors from PostgreSQL to a folder that the other commands read: corpus.jsonl, queries.jsonl,
qrels/<split>.tsv and vectors/<model>/{docs,queries}.npy. Each comes from a table, a view, or a query in SQL:

  --docs, --queries   a column id; title and text, where there are such columns (without them only ids are written); and a column of
                      pgvector's type vector or halfvec for each model, which has the column's name
  --qrels             columns query_id, document_id and score, and split, where there is one (without it all are of split train)

Where a column has another name, --docs-columns and its like say which it is: id=sku reads column sku as id. Rows are in the order of
their ids as bytes, and all are of one transaction, so equal tables give equal files. Nothing is written to the database. Memory does
not grow with the tables. A password belongs in PGPASSWORD or in ~/.pgpass, since others may see a command line.`,
		Example: `  quarry import postgres://reader@db.example.com/shop -o mydata
  quarry import postgres:///shop -o mydata --docs products --docs-columns id=sku,text=description --queries searches --qrels clicks
  quarry import postgres:///shop -o mydata --docs "select sku as id, description as text, minilm from products where minilm is not null"
  quarry import postgres:///shop -o mydata --qrels "select query_id, sku as document_id, 1 as score from clicks" --models minilm`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.do(a, cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&c.output, "output", "o", "", "folder to make")
	for _, s := range []struct {
		flag, from, columns string
		source              *postgres.Source
	}{
		{"docs", "documents", "id, title, text or a model", &c.options.Documents},
		{"queries", "queries", "id, text or a model", &c.options.Queries},
		{"qrels", "judgements", "query_id, document_id, score or split", &c.options.Judgements},
	} {
		flags.StringVar(&s.source.From, s.flag, s.from, "table, view or query of the "+s.from)
		flags.StringToStringVar(&s.source.Columns, s.flag+"-columns", nil, "columns that have other names, as `NAME=COLUMN,...`; NAME is "+s.columns)
		flags.Lookup(s.flag + "-columns").DefValue = ""
	}
	flags.StringSliceVar(&c.options.Models, "models", nil, "models to copy, separated by commas (default all)")
	flags.BoolVar(&c.options.Force, "force", false, "replace a folder that an import made")
	mustGive(cmd, "output")
	return cmd
}

func (c *importCommand) do(a *app, cmd *cobra.Command, url string) error {
	meter := a.newMeter()
	c.options.Progress = meter.progress()
	imported, err := postgres.Import(cmd.Context(), url, c.output, c.options)
	meter.stop()
	if err != nil {
		return err
	}
	return a.summary(imported, func(w io.Writer) error { return writeImported(w, imported) })
}

// writeImported says what was copied, and a command to go on with.
func writeImported(w io.Writer, i *postgres.Imported) error {
	texts := "with texts"
	if !i.Texts {
		texts = "without texts, since documents or queries have no column title or text"
	}
	var models, splits []string
	for _, m := range i.Models {
		models = append(models, fmt.Sprintf("%s (%d columns, %s)", m.Name, m.Columns, m.DType))
	}
	for _, split := range slices.SortedFunc(maps.Keys(i.Judgements), dataset.CompareSplits) {
		splits = append(splits, fmt.Sprintf("%d of split %s", i.Judgements[split], split))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "imported\t%d documents and %d queries, %s\n", i.Documents, i.Queries, texts)
	fmt.Fprintf(t, "judgements\t%s\n", join(splits))
	fmt.Fprintf(t, "models\t%s\n", join(models))
	fmt.Fprintf(t, "written\t%s\n", i.Folder)
	fmt.Fprintf(t, "next\tquarry mine %s\n", shellWord(i.Folder))
	return t.Flush()
}
