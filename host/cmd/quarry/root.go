package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/fit"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/job"
	"github.com/quarry-hn/quarry/host/objstore"
	"github.com/quarry-hn/quarry/host/option"
	"github.com/quarry-hn/quarry/host/run"
	"github.com/quarry-hn/quarry/plugin/abi"
)

// Exit codes; rootLong and the README list them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInput       = 3
	exitExists      = 4
	exitWrite       = 5
	exitInterrupted = 130
)

const rootLong = `quarry mines hard negatives: documents that look right for a query and are not.

It reads a folder with texts in BEIR layout and vectors beside them:

  corpus.jsonl[.gz]  queries.jsonl[.gz]  qrels/<split>.tsv
  vectors/<model>/docs.npy  vectors/<model>/queries.npy

It concatenates the models' vectors and reduces them by PCA. For each (query, positive) pair it takes the documents that its rule
lets through, nearest to the query first.

Exit codes: 0 done; 1 failed, or a job has no result yet; 2 wrong usage, or too little --memory; 3 an input is missing or not
sound; 4 an output exists already (--force replaces it); 5 an output could not be written; 130 interrupted.`

const rootExample = `  quarry demo                                     # a small example, with its texts, on the screen
  quarry mine mydata                              # fit, project, mine; writes negatives.jsonl
  quarry mine mydata --rule perc --perc 0.95 -o perc.jsonl
  quarry export negatives.jsonl mydata -o triplets.jsonl
  quarry job --help                               # the same in shards, on several machines or on AWS Lambda`

// longestLine is the longest line of an error that is printed, in bytes. A path has at most 4,096, and most have less.
// What quotes an input cuts it shorter; this is for what does not.
const longestLine = 2000

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// app is what commands share: where they write, and whether they print JSON or nothing.
type app struct {
	stdout, stderr io.Writer
	json           bool
	quiet          bool
}

// execute runs a command line and returns the exit code.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	kept := (*run.Kept)(nil)
	isKept := errors.As(err, &kept)
	if code == exitInterrupted {
		what := "nothing was written"
		if partly := (*partlyDone)(nil); isKept {
			what = fmt.Sprintf("what is finished is kept in %s: --resume goes on from there", kept.Folder)
		} else if errors.As(err, &partly) {
			what = partly.kept
		}
		fmt.Fprintf(stderr, "quarry: interrupted; %s\n", what)
		return code
	}
	fmt.Fprintf(stderr, "quarry: %s\n", excerpt.Lines(err.Error(), longestLine))
	if hint := memoryHint(err); hint != "" {
		fmt.Fprintf(stderr, "  hint: %s\n", hint)
	}
	if isKept {
		fmt.Fprintf(stderr, "What is finished is kept in %s: --resume goes on from there.\n", kept.Folder)
	}
	if code == exitUsage {
		fmt.Fprintln(stderr, "Run the command with --help for its usage.")
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "quarry", Short: "Mine hard negatives from precomputed vectors", Long: rootLong, Example: rootExample,
		SuggestionsMinimumDistance: 2, SilenceErrors: true, SilenceUsage: true, Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{flagError(err)} })
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print the summary as JSON")
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "print no summary and no progress")
	root.AddCommand(a.mineCommand(), a.fitCommand(), a.transformCommand(), a.exportCommand(), a.reportCommand(), a.inspectCommand(), a.compareCommand(), a.auditCommand(),
		a.evalCommand(), a.demoCommand(), a.importCommand(), a.jobCommand(), a.versionCommand())
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" { // Cobra's own check prints a line about an unknown topic, and succeeds
			c.Args = func(_ *cobra.Command, given []string) error {
				if found, rest, err := root.Find(given); err != nil || found.HasSubCommands() && len(rest) > 0 {
					return fmt.Errorf("there is no help on %s", excerpt.Quote(strings.Join(given, " ")))
				}
				return nil
			}
		}
	}
	makeUsageErrors(root)
	return root
}

// flagError shortens an error of pflag. Of a flag's value, pflag quotes all, and twice where it is no number.
func flagError(err error) error {
	invalid := (*pflag.InvalidValueError)(nil)
	if !errors.As(err, &invalid) || len(err.Error()) <= longestLine/4 {
		return excerpt.Error(err)
	}
	cause := invalid.Unwrap()
	if n := (*strconv.NumError)(nil); errors.As(cause, &n) {
		cause = n.Err
	}
	return fmt.Errorf("invalid argument %s for \"--%s\" flag: %w", excerpt.Quote(invalid.GetValue()), invalid.GetFlag().Name, excerpt.Error(cause))
}

// makeUsageErrors makes errors in the arguments of a command, and of the commands below it, usage errors.
func makeUsageErrors(c *cobra.Command) {
	args := c.Args
	c.Args = func(cmd *cobra.Command, given []string) error {
		if args == nil {
			return nil
		}
		if err := args(cmd, given); err != nil {
			return usageError{err}
		}
		output := cmd.Flags().Lookup("output")
		switch {
		case output == nil:
		case output.Value.String() == "":
			return usageError{errors.New("--output is empty")}
		case output.Value.String() == "-" && cmd.Name() != "export":
			return usageError{errors.New("--output is -, and what is written is not a stream: name a file, or ./- for one of that name")}
		}
		return nil
	}
	for _, below := range c.Commands() {
		makeUsageErrors(below)
	}
}

// knownCommand fails for a word that is not a command of parent's, and names the commands that look like it.
func knownCommand(parent *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	message := "there is no command " + excerpt.Quote(strings.TrimPrefix(parent.CommandPath()+" "+args[0], "quarry "))
	if like := parent.SuggestionsFor(args[0]); len(like) > 0 {
		message += "; did you mean " + strings.Join(like, " or ") + "?"
	}
	return errors.New(message)
}

// exitCode returns the exit code of an error.
func exitCode(err error) int {
	var usage usageError
	var input *dataset.Error
	var plugin *abi.Error
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), errors.Is(err, option.ErrOption), errors.Is(err, option.ErrMemory), errors.Is(err, fit.ErrOption),
		errors.As(err, &plugin) && plugin.Code == abi.Memory:
		return exitUsage
	case errors.Is(err, option.ErrExists):
		return exitExists
	case errors.As(err, &input), errors.Is(err, fit.ErrNothingToFit), errors.As(err, &plugin) && plugin.Code != abi.Internal:
		return exitInput
	case errors.Is(err, option.ErrWrite):
		return exitWrite
	case errors.Is(err, job.ErrManifest), errors.Is(err, objstore.ErrNotExist), errors.Is(err, objstore.ErrNoBucket), errors.Is(err, objstore.ErrDenied):
		return exitInput
	}
	return exitFailure
}

// memoryHint says how much --memory would do, where there was too little; it is empty for other errors.
func memoryHint(err error) string {
	if little := (*option.MemoryError)(nil); errors.As(err, &little) {
		return fmt.Sprintf("--memory %dMiB would do; the result is the same", option.MiB(little.Enough))
	}
	if plugin := (*abi.Error)(nil); errors.As(err, &plugin) && plugin.Code == abi.Memory {
		return "give more --memory; the result is the same"
	}
	return ""
}

// shows reports whether a summary is printed.
func (a *app) shows() bool { return a.json || !a.quiet }

// summary prints what a command did: data as JSON with --json, nothing with --quiet, or else what text writes.
func (a *app) summary(data any, text func(w io.Writer) error) error {
	switch {
	case a.json:
		e := json.NewEncoder(a.stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(data)
	case a.quiet:
		return nil
	}
	return text(a.stdout)
}
