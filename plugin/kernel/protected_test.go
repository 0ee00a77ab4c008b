//go:build unix && amd64 && !purego

package kernel_test

import (
	"bytes"
	"math/rand/v2"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"

	"github.com/quarry-hn/quarry/plugin/kernel"
	"github.com/quarry-hn/quarry/plugin/kernel/kerneltest"
)

// operands are slices that end where memory ends, or begin where it begins: the pages beside them may not be touched.
type operands struct {
	random *rand.Rand
	arenas [][]byte // one for each operand of a call
	used   int
	atEnd  bool
}

const arenaBytes = 1 << 18

func newOperands(t *testing.T) *operands {
	o := &operands{}
	page := syscall.Getpagesize()
	for range 6 {
		m, err := syscall.Mmap(-1, 0, arenaBytes+2*page, syscall.PROT_NONE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Munmap(m) })
		usable := m[page : page+arenaBytes]
		if err := syscall.Mprotect(usable, syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
			t.Fatal(err)
		}
		o.arenas = append(o.arenas, usable)
	}
	return o
}

// start has the operands that follow be the first of a call. The same call has the same values at either end.
func (o *operands) start(n int, atEnd bool) {
	o.random, o.used, o.atEnd = rand.New(rand.NewPCG(uint64(n), 7)), 0, atEnd
}

func place[T any](o *operands, values []T) []T {
	arena := o.arenas[o.used]
	o.used++
	at := unsafe.Pointer(unsafe.SliceData(arena))
	if o.atEnd {
		at = unsafe.Add(at, len(arena)-len(values)*int(unsafe.Sizeof(*new(T))))
	}
	placed := unsafe.Slice((*T)(at), len(values))
	copy(placed, values)
	return placed
}

func (o *operands) floats(n int) []float32 { return place(o, kerneltest.Floats(o.random, n, false)) }

func (o *operands) words(n int) []int32 { return place(o, kerneltest.Words(o.random, n)) }

func (o *operands) halves(n int) []uint16 {
	v := make([]uint16, n)
	for i := range v {
		v[i] = uint16(o.random.UintN(0x7c00))
	}
	return place(o, v)
}

// protected are calls of every loop with n values, and of every product of about n columns. Each returns what it wrote.
var protected = map[string]func(k kernel.Kernel, o *operands, n int) []byte{
	"Dot": func(k kernel.Kernel, o *operands, n int) []byte {
		return raw([]float64{k.Dot(o.floats(n), o.floats(n))})
	},
	"Scale": func(k kernel.Kernel, o *operands, n int) []byte {
		dst := o.floats(n)
		k.Scale(dst, o.floats(n), 0.7)
		return raw(dst)
	},
	"Subtract": func(k kernel.Kernel, o *operands, n int) []byte {
		dst := o.floats(n)
		k.Subtract(dst, o.floats(n))
		return raw(dst)
	},
	"Widen": func(k kernel.Kernel, o *operands, n int) []byte {
		dst := o.floats(n)
		k.Widen(dst, o.halves(n))
		return raw(dst)
	},
	"Quantize": func(k kernel.Kernel, o *operands, n int) []byte {
		dst := o.words(kernel.Words(n))
		k.Quantize(dst, o.floats(n))
		return raw(dst)
	},
	"Finite": func(k kernel.Kernel, o *operands, n int) []byte { return raw([]bool{k.Finite(o.floats(n))}) },
	"Above": func(k kernel.Kernel, o *operands, n int) []byte {
		n &^= 3
		dst := o.words(n)
		return raw(dst[:k.Above(dst, o.words(n), o.floats(n), o.floats(n), 0.5)])
	},
	"Extend": func(k kernel.Kernel, o *operands, n int) []byte {
		const rows = 7
		n &^= 3
		kept, sums := place(o, []int32{0, 1, 2, 4, 5, 6}), o.words(rows)
		stays := kept[:k.Extend(kept, sums, o.words(rows*n), n, o.words(n), o.floats(rows), o.floats(rows), 0.5)]
		return append(raw(sums), raw(stays)...)
	},
	"Screen": func(k kernel.Kernel, o *operands, n int) []byte {
		columns, rows, vectors := max(1, n), kernel.PackedRows(1+n%40), 1+n%11
		kept := kernel.Packed[int32]{Rows: rows, Columns: columns, Data: o.words(rows * columns)}
		dst := o.words(vectors * rows)
		k.Screen(dst, kept, 0, rows, o.words(vectors*columns), columns)
		return raw(dst)
	},
	"Project": func(k kernel.Kernel, o *operands, n int) []byte {
		columns, rows, vectors := max(1, n), 1+n%40, 1+n%11
		kept := kernel.Packed[float32]{Rows: rows, Columns: columns, Data: o.floats(kernel.PackedLen(rows, columns))}
		dst := o.floats(vectors * rows)
		k.Project(dst, kept, o.floats(vectors*columns))
		return raw(dst)
	},
}

// TestProtected runs every loop where memory ends on either side of its operands. A loop that reads past them, or writes, faults.
func TestProtected(t *testing.T) {
	eachNative(t, func(t *testing.T, n *kernel.Native) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		o, k := newOperands(t), n.New()
		for name, run := range protected {
			for n := range 131 {
				for _, atEnd := range []bool{true, false} {
					func() {
						defer func() {
							if fault := recover(); fault != nil {
								t.Fatalf("%s of %d, at the end %v: %v", name, n, atEnd, fault)
							}
						}()
						o.start(n, atEnd)
						got := run(k, o, n)
						o.start(n, atEnd)
						if want := run(kernel.Plain, o, n); !bytes.Equal(got, want) {
							t.Fatalf("%s of %d, at the end %v: other values than plain Go's", name, n, atEnd)
						}
					}()
				}
			}
		}
	})
}
