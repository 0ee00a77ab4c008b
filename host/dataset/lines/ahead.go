package lines

import "io"

// aheadBytes is how much a readAhead reads at a time: as much as gzip gives at once.
const aheadBytes = 32 << 10

// readAhead reads from a reader in a goroutine of its own, so that uncompressing a file and decoding its lines go on
// side by side. At most aheadBytes are read and not yet taken. Close it after use.
type readAhead struct {
	*io.PipeReader
	ended chan struct{}
}

func newReadAhead(from io.Reader) *readAhead {
	r, w := io.Pipe()
	a := &readAhead{r, make(chan struct{})}
	go func() {
		defer close(a.ended)
		_, err := io.CopyBuffer(w, from, make([]byte, aheadBytes))
		w.CloseWithError(err) // nil is the end
	}()
	return a
}

// close returns once nothing is read any more.
func (a *readAhead) close() {
	_ = a.PipeReader.Close() // it never fails
	<-a.ended
}
