// Command web bundles the report's script and style sheet with esbuild, and gathers the licences of the libraries in the bundle.
//
// Input: src, and node_modules as npm ci makes it of package-lock.json, which has a hash for every library. Output: report.js, report.css
// and licenses.txt in ../dist, which package report embeds. With -check it writes nothing and fails where a file there differs.
// make report-web and make report-check run it in this folder.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	check := flag.Bool("check", false, "compare with ../dist instead of writing it")
	flag.Parse()
	if err := run("../dist", *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dist string, check bool) error {
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{"src/report.js", "src/report.css"}, Outdir: dist, Bundle: true, Format: api.FormatIIFE, Target: api.ES2022,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true, LegalComments: api.LegalCommentsNone, Charset: api.CharsetASCII,
		Metafile: true, LogLevel: api.LogLevelWarning,
	})
	if len(result.Errors) > 0 {
		return errors.New("esbuild found the errors above")
	}
	licenses, err := licensesOf(result.Metafile)
	if err != nil {
		return err
	}
	files := map[string][]byte{"licenses.txt": licenses}
	for _, f := range result.OutputFiles {
		files[filepath.Base(f.Path)] = f.Contents
	}
	var problems []error
	for name, want := range files {
		path := filepath.Join(dist, name)
		if !check {
			problems = append(problems, os.WriteFile(path, want, 0o644))
			continue
		}
		if there, err := os.ReadFile(path); err != nil || !bytes.Equal(there, want) {
			problems = append(problems, fmt.Errorf("%s is not what its sources give: run make report-web", path))
		}
	}
	return errors.Join(problems...)
}

// library finds the folder of the library that a source file belongs to.
var library = regexp.MustCompile(`^node_modules/((?:@[^/]+/)?[^/]+)/`)

// licensesOf gives name, version and licence of every library of which something is in the bundle. Equal licences stand there once.
func licensesOf(metafile string) ([]byte, error) {
	var meta struct {
		Outputs map[string]struct {
			Inputs map[string]struct{ BytesInOutput int }
		}
	}
	if err := json.Unmarshal([]byte(metafile), &meta); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, output := range meta.Outputs {
		for input, of := range output.Inputs {
			if found := library.FindStringSubmatch(input); found != nil && of.BytesInOutput > 0 {
				names[found[1]] = true
			}
		}
	}
	libraries := map[string][]string{} // by licence
	for name := range names {
		folder := filepath.Join("node_modules", filepath.FromSlash(name))
		var manifest struct{ Version, License string }
		text, err := os.ReadFile(filepath.Join(folder, "package.json"))
		if err == nil {
			err = json.Unmarshal(text, &manifest)
		}
		if err != nil {
			return nil, err
		}
		license, err := os.ReadFile(filepath.Join(folder, "LICENSE"))
		if err != nil {
			return nil, fmt.Errorf("the licence of %s: %w", name, err)
		}
		libraries[strings.TrimSpace(string(license))] = append(libraries[strings.TrimSpace(string(license))], name+" "+manifest.Version)
	}
	var parts []string
	for license, of := range libraries {
		slices.Sort(of)
		parts = append(parts, strings.Join(of, ", ")+"\n\n"+license+"\n")
	}
	slices.Sort(parts)
	return []byte(strings.Join(parts, "\n----\n\n")), nil
}
