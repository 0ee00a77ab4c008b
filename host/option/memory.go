package option

import (
	"fmt"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// DefaultMemory is the default of --memory, in bytes: half of the machine's memory, or of the container's, and at most 4 GiB.
func DefaultMemory() int64 {
	const most = 4 << 30
	all, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil || all/2 > most {
		return most
	}
	return int64(all / 2)
}

// ProcessMemory is what a process takes before anything is planned, in bytes: Go's runtime, the code of the program and of the compiled
// module, ids, buffers. It was measured, with room to spare.
const ProcessMemory = 72 << 20

// Budget is the memory that one piece of work may take. Several of them can share a process, each within its own budget.
// The zero value stands for the whole process with DefaultMemory.
type Budget struct {
	Bytes    int64 // in all: half of it for plugin instances, whose memory never shrinks, and half for this process
	Reserved int64 // of the process's half: what is taken already, and is not planned with
}

// ProcessBudget is the budget of work that has a process of so many bytes to itself. 0 bytes means DefaultMemory.
func ProcessBudget(bytes int64) Budget {
	if bytes == 0 {
		bytes = DefaultMemory()
	}
	return Budget{Bytes: bytes, Reserved: ProcessMemory}
}

// OrDefault returns the budget, or that of the whole process where it is the zero value.
func (b Budget) OrDefault() Budget {
	if b == (Budget{}) {
		return ProcessBudget(0)
	}
	return b
}

// Share is one of n equal shares of the budget. Together the shares reserve as much as the whole does.
func (b Budget) Share(n int) Budget { return Budget{b.Bytes / int64(n), b.Reserved / int64(n)} }

// Instances is how many bytes all plugin instances may take together.
func (b Budget) Instances() int64 { return b.Bytes / 2 }

// CollectorLimit is what Go's collector is told to keep to, in bytes, where the process has no other work: the process's half.
func (b Budget) CollectorLimit() int64 { return max(b.Bytes/2-b.Reserved, 32<<20) }

// Unreserved is how many bytes there are while there are no plugin instances, as for a fit.
func (b Budget) Unreserved() int64 { return max(1, b.Bytes-b.Reserved) }

// Need is how many bytes a budget with the same reserve must have for instances and for the process to take so many.
func (b Budget) Need(instances, process int64) int64 { return max(2*instances, 2*(b.Reserved+process)) }

// TooLittle is the error of a budget for work that needs at least so many bytes, and no more.
func (b Budget) TooLittle(need int64) error { return &MemoryError{b.Bytes, need, need} }

// MemoryError is ErrMemory with how much would do. Whoever gave the budget can say where to give more.
type MemoryError struct {
	Given  int64 // bytes
	Least  int64 // bytes without which the work fails
	Enough int64 // bytes with which it does not; more than Least where it depends on what is not known yet
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%v: %d MiB were given; this takes at least %d MiB", ErrMemory, e.Given>>20, MiB(e.Least))
}

// Unwrap returns ErrMemory.
func (e *MemoryError) Unwrap() error { return ErrMemory }

// MiB is how many MiB hold so many bytes.
func MiB(bytes int64) int64 { return bytes>>20 + 1 }
