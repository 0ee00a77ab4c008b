// Command asm writes the loops of package kernel for amd64, in two levels: AVX2 and AVX-512. The twin of each loop is in
// plain.go and loops.go of package kernel, or in plain.go of host/matrix.
//
// It has a go.mod of its own, so that users of quarry do not depend on avo. make asm runs it, and make asm-check fails
// where what it writes differs from what is there.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

// generator is what the program is called where its output names it.
const generator = "plugin/kernel/asm"

func main() {
	to := flag.String("to", "..", "the folder of package kernel")
	check := flag.Bool("check", false, "write nothing; fail where a file is not what would be written")
	flag.Parse()
	if err := run(*to, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(to string, check bool) error {
	for _, package_ := range []struct {
		folder, name string
		functions    func(*build.Context)
	}{
		{"", "kernel", loops},
		{"kerneltest", "kerneltest", peaks},
	} {
		c := build.NewContext()
		c.ConstraintExpr("amd64,!purego")
		package_.functions(c)
		file, err := c.Result()
		if err != nil {
			return err
		}
		if err := pass.Compile.Execute(file); err != nil {
			return err
		}
		config := printer.Config{Name: generator, Pkg: package_.name}
		for name, p := range map[string]printer.Printer{"asm_amd64.s": printer.NewGoAsm(config), "asm_amd64.go": printer.NewStubs(config)} {
			if err := write(filepath.Join(to, package_.folder, name), p, file, check); err != nil {
				return err
			}
		}
	}
	return nil
}

func write(path string, p printer.Printer, file *ir.File, check bool) error {
	text, err := p.Print(file)
	if err != nil {
		return err
	}
	if !check {
		return os.WriteFile(path, text, 0o666)
	}
	there, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(there, text) {
		err = fmt.Errorf("%s is not what its generator writes\n  hint: make asm", path)
	}
	return err
}

// loops are the functions of package kernel.
func loops(c *build.Context) {
	tables := map[string]operand.Mem{}
	for _, l := range levels {
		a := &assembler{c, l, tables}
		for _, t := range tiles {
			if t.only == "" || t.only == l.name {
				a.tile(t)
			}
		}
		a.narrow()
		a.dot()
		a.scale()
		a.subtract()
		a.widen()
		a.quantize()
		a.above()
		a.finite()
		a.extend(multiplyWords)
		if l.name == avx512.name {
			a.extend(vnni)
		}
	}
}
