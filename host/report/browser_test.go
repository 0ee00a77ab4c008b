package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// openBrowser starts headless Chromium. The test is skipped where there is none.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("there is no Chromium: the page was not opened in a browser; on Debian: apt-get install chromium")
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), chromedp.Headless, chromedp.NoSandbox, chromedp.ExecPath(program), chromedp.WindowSize(1280, 1000),
		chromedp.UserDataDir(t.TempDir()))
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute) // an action waits for its element for ever
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// opened is a page in a browser, and what the browser said of it.
type opened struct {
	context.Context
	mutex    sync.Mutex
	messages []string // of the console, exceptions, and what the policy refused
	requests []string
}

// openPage opens a page in a tab of its own and waits until its script has run to the end.
func openPage(t *testing.T, browser context.Context, r *Report) *opened {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(write(t, r)), 0o644); err != nil {
		t.Fatal(err)
	}
	p := &opened{}
	var cancel context.CancelFunc
	p.Context, cancel = chromedp.NewContext(browser, chromedp.WithListener(p.listen))
	t.Cleanup(cancel)
	if _, err := chromedp.Call(p, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err) // a tab in the background is told of no focus
	}
	p.do(t, chromedp.Navigate("file://"+path), chromedp.WaitReady(chromedp.CSS(`html[data-ready="yes"]`)))
	if _, err := chromedp.Run(p, chromedp.Poll[bool](`[...document.querySelectorAll(".picture")].every(box => box.querySelector("svg"))`)); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *opened) listen(event any) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		p.messages = append(p.messages, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		p.messages = append(p.messages, fmt.Sprint(e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		p.messages = append(p.messages, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	}
}

func (p *opened) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(p, steps...); err != nil {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		t.Fatalf("%v; the browser says: %q", err, p.messages)
	}
}

// eval evaluates an expression in the page.
func eval[T any](t *testing.T, p *opened, expression string) (value T) {
	t.Helper()
	value, err := chromedp.Run(p, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// choose picks an option as a reader does: the page hears of it.
func (p *opened) choose(t *testing.T, id, value string) {
	t.Helper()
	eval[bool](t, p, fmt.Sprintf(`{ const e = document.getElementById(%q); e.value = %q; e.dispatchEvent(new Event("change")) }`, id, value))
}

// press clicks the button of that name.
func press(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.Search(fmt.Sprintf(`//button[.=%q]`, name)))
}

// mark clicks a choice of the first negative on the screen.
func mark(value string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(fmt.Sprintf(`.negatives .document:first-child input[value=%q]`, value)))
}

// checkQuiet fails where the browser complained, or asked for anything but the page itself.
func (p *opened) checkQuiet(t *testing.T) {
	t.Helper()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, m := range p.messages {
		t.Errorf("the browser says: %s", m)
	}
	if len(p.requests) != 1 {
		t.Errorf("requests: %q; expected that of the page alone", p.requests)
	}
}

// TestBrowser opens pages in Chromium: one of the embedded example, and one of hostile texts.
func TestBrowser(t *testing.T) {
	browser := openBrowser(t)
	in := mined(t)
	r, err := New(t.Context(), in, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := openPage(t, browser, r)
	checkNumbers(t, p, r)
	checkMap(t, p, r)
	checkCases(t, p, r)
	p.checkQuiet(t)

	h := openPage(t, p, hostilePage())
	if title := eval[string](t, h, "document.title"); !strings.HasPrefix(title, "Hard negatives of </script>") {
		t.Errorf("the title is %q", title)
	}
	if n := eval[int](t, h, `document.querySelectorAll("img, main script, main svg[onload]").length`); n != 0 {
		t.Errorf("hostile texts became %d elements", n)
	}
	if shown := eval[string](t, h, `document.querySelector(".case h3").textContent`); !strings.Contains(shown, hostile[0]) {
		t.Errorf("the query reads %q", shown)
	}
	h.checkQuiet(t)
}

// checkNumbers compares what a reader sees with the JSON.
func checkNumbers(t *testing.T, p *opened, r *Report) {
	t.Helper()
	text := eval[string](t, p, "document.body.textContent")
	percent := func(share float64) string { return fmt.Sprintf("%.1f\u00a0%%", 100*share) }
	fixed := func(v float64) string { return strings.Replace(fmt.Sprintf("%.3f", v), "-", "\u2212", 1) }
	q := r.Margins.Quantiles
	for _, part := range []string{
		fmt.Sprintf("%d negatives for %d of %d pairs, from %d documents", r.Tallies.Negatives, r.Tallies.WithNegatives, r.Tallies.Pairs, r.Tallies.Documents),
		fmt.Sprintf("Quartiles: %s, %s, %s; from %s to %s; %d negatives.", fixed(q.Q25), fixed(q.Median), fixed(q.Q75), fixed(q.Min), fixed(q.Max), q.Count),
		"12 components of 384 columns", percent(r.Rules[0].Yield), percent(r.Rules[0].HiddenPositives.TakenShare), percent(r.Rules[1].HiddenPositives.FirstShare),
		fixed(r.Trainings[0].Rows[0].MRR10.Mean), fixed(*r.Trainings[0].Rows[0].MRR10.High), "+1.2 (\u22120.7 to +3.1), cannot tell", "+10.0 (+9.1 to +10.9), better",
		"A note of the table.", "Cross-encoder, 1 seed", fixed(r.Trainings[1].Rows[0].MRR10.Mean), r.NegativesID,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the page does not say %q", part)
		}
	}
	bars := eval[[]int](t, p, `[...document.querySelectorAll("#distances details")].map(d => [...d.querySelectorAll("tbody td:last-child")].map(c => Number(c.textContent))).flat()`)
	if want := slices.Concat(r.Margins.Counts, r.Likeness.Counts); !slices.Equal(bars, want) {
		t.Errorf("the histograms' tables give %v, expected %v", bars, want)
	}
	drawn := eval[int](t, p, `document.querySelectorAll("#distances rect").length`)
	if all := len(r.Margins.Counts) + len(r.Likeness.Counts); drawn != all {
		t.Errorf("%d bars are drawn, expected %d", drawn, all)
	}
	unnamed := eval[int](t, p, `[...document.querySelectorAll("button, select, input")].filter(e => !(e.textContent.trim() || e.labels?.length)).length`)
	if headings := eval[int](t, p, `document.querySelectorAll("svg:not([aria-label]), svg g[aria-label]:not([role])").length`); unnamed+headings != 0 {
		t.Errorf("%d controls and %d pictures have no name, or a name without a role", unnamed, headings)
	}
}

// checkMap picks queries on the map and reads what stands at their marks.
func checkMap(t *testing.T, p *opened, r *Report) {
	t.Helper()
	if n := eval[int](t, p, `document.querySelectorAll('#map g.sample circle').length`); n != len(r.Figure.Sample) {
		t.Errorf("%d documents are grey, expected %d", n, len(r.Figure.Sample))
	}
	p.choose(t, "map-query", "3")
	c := r.Cases[3]
	marks := eval[[]string](t, p, `[...document.querySelectorAll("#map svg [tabindex]")].map(e => e.getAttribute("aria-label"))`)
	want := 2 + len(c.Negatives)
	if len(marks) != want || !slices.ContainsFunc(marks, func(m string) bool { return strings.HasPrefix(m, "Positive: "+c.Positive.ID+": "+c.Positive.Title) }) {
		t.Errorf("the marks are %q, expected %d", marks, want)
	}
	p.do(t, chromedp.Focus(chromedp.CSS(`#map-query`)), chromedp.KeyEvent(kb.Tab+kb.Tab+kb.Tab)) // past the two buttons
	if kind := eval[string](t, p, `document.activeElement.getAttribute("aria-label") ?? document.activeElement.outerHTML`); !strings.HasPrefix(kind, "Negative") {
		t.Errorf("the Tab key goes from the buttons to %.100s, expected a negative's mark", kind)
	}
	p.do(t, chromedp.Focus(chromedp.CSS(`#map g.query [tabindex]`)))
	if tip := eval[string](t, p, `document.querySelector(".tip:not([hidden])")?.textContent ?? ""`); !strings.Contains(tip, c.Query.Text) {
		t.Errorf("the query's mark says %q", tip)
	}
}

// checkCases pages, filters and marks, and saves the marks.
func checkCases(t *testing.T, p *opened, r *Report) {
	t.Helper()
	seen := func() string { return eval[string](t, p, `document.querySelector(".case").textContent`) }
	c := r.Cases[1]
	p.do(t, press("Next case"))
	for _, part := range []string{c.Query.Text, c.Positive.Text, c.Negatives[0].Text.Text, fmt.Sprintf("%.3f", c.Negatives[0].DPDD), c.Negatives[0].Reasons[0]} {
		if !strings.Contains(seen(), part) {
			t.Errorf("case 2 does not show %q", part)
		}
	}
	if n := eval[int](t, p, `document.querySelectorAll(".case mark").length`); n == 0 {
		t.Error("no word is marked")
	}
	p.do(t, mark("false"), press("Next case"), mark("good"))
	folder := t.TempDir()
	if _, err := chromedp.CallBrowser(p, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllow,
		DownloadPath: folder, EventsEnabled: new(true)}); err != nil {
		t.Fatal(err)
	}
	progress := chromedp.BrowserEvents(p, browser.DownloadProgress)
	p.do(t, press("Save judgements.tsv"))
	for e, err := range progress {
		if err != nil {
			t.Fatal(err)
		}
		if e.State == browser.DownloadProgressStateCompleted {
			break
		}
	}
	file, err := os.ReadFile(filepath.Join(folder, "judgements.tsv"))
	want := fmt.Sprintf("query-id\tcorpus-id\tscore\n%s\t%s\t1\n%s\t%s\t0\n", c.Query.ID, c.Negatives[0].ID, r.Cases[2].Query.ID, r.Cases[2].Negatives[0].ID)
	if string(file) != want || err != nil {
		t.Errorf("saved %q, expected %q: %v", file, want, err)
	}
	p.choose(t, "case-kind", "false")
	if where := eval[string](t, p, `document.querySelector(".where").textContent`); where != "Case 1 of 1" || !strings.Contains(seen(), c.Query.Text) {
		t.Errorf("%s: %s", where, seen())
	}
}
