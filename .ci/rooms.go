// Command rooms fails where a package imports one that it may not: the table of rooms in docs/ARCHITECTURE.md lists every package, and a
// package may import only those above it there. Tests may import what they like.
//
// make lint runs it from the top of the repository: go run .ci/rooms.go
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

const (
	page   = "docs/ARCHITECTURE.md"
	module = "github.com/quarry-hn/quarry"
)

// row is a row of the table: | `host/mining` | what it holds |. A room that ends with /... is all packages below.
var row = regexp.MustCompile("(?m)^\\| `([^` ]+)`(?:, `([^` ]+)`)* \\|")

var name = regexp.MustCompile("`([^` ]+)`")

func main() {
	if err := check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check() error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	var rooms []string
	for _, line := range row.FindAllString(string(text), -1) {
		for _, m := range name.FindAllStringSubmatch(line, -1) {
			rooms = append(rooms, m[1])
		}
	}
	if len(rooms) < 10 {
		return fmt.Errorf("%s: only %d rooms were found in its table", page, len(rooms))
	}
	var problems []error
	seen := map[string]bool{}
	problem := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !seen[text] {
			seen[text] = true
			problems = append(problems, errors.New(text))
		}
	}
	for _, target := range [][]string{nil, {"GOOS=wasip1", "GOARCH=wasm"}} { // the guest's files are for Wasm alone
		packages, err := list(target)
		if err != nil {
			return err
		}
		for _, p := range packages {
			from := room(rooms, p.ImportPath)
			if from < 0 {
				problem("%s is in no room of %s", p.ImportPath, page)
				continue
			}
			for _, i := range p.Imports {
				if to := room(rooms, i); strings.HasPrefix(i, module) && to > from {
					problem("%s imports %s, which %s lists below it", p.ImportPath, i, page)
				}
			}
		}
	}
	return errors.Join(problems...)
}

// room is the number of the package's room: that of its own name, or of the longest /... that it is below; -1 where there is none.
func room(rooms []string, path string) int {
	path = strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	best, length := -1, -1
	for i, r := range rooms {
		below, all := strings.CutSuffix(r, "/...")
		if r == path {
			return i
		}
		if all && (path == below || strings.HasPrefix(path, below+"/")) && len(below) > length {
			best, length = i, len(below)
		}
	}
	return best
}

type listed struct {
	ImportPath string
	Imports    []string
}

// list is the repository's packages and what they import, tests aside.
func list(environment []string) (packages []listed, err error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "./...", "./testdata/demo")
	cmd.Env, cmd.Stderr = append(os.Environ(), environment...), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for d := json.NewDecoder(out); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return packages, cmd.Wait()
		} else if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
}
