package train

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/quarry-hn/quarry/host/internal/atomicfile"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
	"github.com/quarry-hn/quarry/host/option"
)

// PythonVariable is the environment variable that names the Python where no option does.
const PythonVariable = "QUARRY_TRAIN_PYTHON"

// environment is what make train-env makes.
const environment = ".venv-train/bin/python"

//go:embed python/*.py python/requirements.txt
var sources embed.FS

// sourceFiles are the Python sources by name, and their fingerprint.
func sourceFiles() (files map[string][]byte, fingerprint string, err error) {
	entries, err := sources.ReadDir("python")
	if err != nil {
		return nil, "", err
	}
	files, sum := map[string][]byte{}, sha256.New()
	for _, e := range entries {
		b, err := sources.ReadFile("python/" + e.Name())
		if err != nil {
			return nil, "", err
		}
		files[e.Name()] = b
		fmt.Fprintf(sum, "%s %d\n%s", e.Name(), len(b), b)
	}
	return files, hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// FindPython returns the Python to train with: the one that is given, or that of PythonVariable, or that of make train-env. It fails where
// that one does not have sentence-transformers.
func FindPython(ctx context.Context, given string) (string, error) {
	name := given
	for _, other := range []string{os.Getenv(PythonVariable), environment} {
		if name == "" {
			name = other
		}
	}
	const hint = "\n  hint: make train-env makes an environment in .venv-train; name another's python with --python or " + PythonVariable
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: there is no Python to train with: %w%s", option.ErrOption, err, hint)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	check := "import importlib.util, sys; sys.exit(any(importlib.util.find_spec(n) is None for n in ('sentence_transformers', 'torch')))"
	if out, err := exec.CommandContext(ctx, path, "-c", check).CombinedOutput(); err != nil {
		return "", errors.Join(ctx.Err(), fmt.Errorf("%w: %s does not have sentence-transformers and torch (%w %s)%s", option.ErrOption, path, err, excerpt.Text(string(out)), hint))
	}
	return path, nil
}

// writeSources writes the Python sources below the comparison's folder.
func writeSources(folder string) error {
	files, _, err := sourceFiles()
	if err != nil {
		return err
	}
	for _, name := range sorted(files) {
		write := func(w io.Writer) error { _, err := w.Write(files[name]); return err }
		if err := atomicfile.Write(filepath.Join(folder, "python", name), true, write); err != nil {
			return err
		}
	}
	return nil
}

// runJobs runs jobs, so many at once. done is called after each. What Python prints goes to train.log in the folder.
func runJobs(ctx context.Context, python, folder string, workers int, jobs []*job, done func()) error {
	log, err := os.OpenFile(filepath.Join(folder, "train.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("%w: %w", option.ErrWrite, err)
	}
	defer log.Close()
	// The jobs come by a file: hundreds of names would be too long for a command line.
	cmd := exec.CommandContext(ctx, python, filepath.Join("python", "quarry_train.py"), "--list", "-", "--workers", strconv.Itoa(workers))
	cmd.Dir, cmd.Cancel, cmd.WaitDelay = folder, func() error { return cmd.Process.Signal(os.Interrupt) }, 10*time.Second
	var list strings.Builder
	for _, j := range jobs {
		fmt.Fprintln(&list, j.file())
	}
	var tail bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(list.String()), io.MultiWriter(log, &tail)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", python, err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var said struct{ Done string }
		if json.Unmarshal(lines.Bytes(), &said) == nil && said.Done != "" {
			done()
		}
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("training failed: %w: %s\n  hint: %s has all that was printed; finished runs are kept, and the same command goes on from them",
			err, lastLine(tail.String()), log.Name())
	}
	return nil
}

// lastLine is the last line that says something: of a Python traceback, the error.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return excerpt.Text(lines[len(lines)-1])
}
