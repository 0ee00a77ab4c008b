package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"strings"
)

// What the program in web made of its sources: make report-web.
//
//go:embed dist/report.js
var script string

//go:embed dist/report.css
var style string

//go:embed dist/licenses.txt
var licenses string

//go:embed page.html
var pageText string

// Write writes the page: one HTML file that loads nothing. Its policy lets run only the script and apply only the style sheet that stand in
// it. The numbers are JSON in which < and > are escaped, so no text can end the element that it stands in.
func (r *Report) Write(w io.Writer) error {
	numbers, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// A replacer and no text/template: with a template in the program, the linker keeps every exported method of every library.
	title := html.EscapeString("Hard negatives of " + r.Data)
	_, err = strings.NewReplacer(
		"{{.Title}}", title, "{{.Numbers}}", string(numbers), "{{.Script}}", script, "{{.Style}}", style,
		"{{.Licenses}}", html.EscapeString(licenses), "{{.ScriptHash}}", policyHash(script), "{{.StyleHash}}", policyHash(style),
	).WriteString(w, pageText)
	return err
}

// policyHash names a script or a style sheet in a Content-Security-Policy.
func policyHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
