package table

import (
	"encoding/binary"
	"errors"
	"io"
	"math"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/quarry-hn/quarry/host/dataset"
)

// The members of Arrow's tables of metadata that checkSchema follows, by their numbers in the format's .fbs files.
const (
	footerSchema       = 1
	footerDictionaries = 2
	footerBatches      = 3
	messageHeader      = 2
	messageBodyLength  = 3
	messageMetadata    = 4
	schemaFields       = 1
	schemaMetadata     = 2
	fieldChildren      = 5
	fieldMetadata      = 6
)

// blockBytes are the bytes of the place of a message in a footer, which begins with its offset.
const blockBytes = 24

var errLengths = errors.New("its schema or a batch says that it has more entries than there is room for")

// checkSchema fails where the schema or a message of a file has vectors that are longer than the metadata they are in. arrow-go takes
// memory for as many entries as they say there are, and Go cannot go on where it asked for more memory than there is.
func (a *arrowFile) checkSchema() (err error) {
	defer guard(a.path, &err)
	metadata, member, err := a.metadata()
	if err == nil {
		root := flatbuffers.Table{Bytes: metadata, Pos: flatbuffers.GetUOffsetT(metadata)}
		if schema, ok := tableIn(root, member); ok {
			err = checkVectors(schema, schemaFields, schemaMetadata)
		}
		if err == nil {
			err = a.checkMessages(root)
		}
	}
	return asError(a.path, "not a whole Arrow file", err)
}

// metadata is the footer of a file, or the first message of a stream, and the member that holds the schema.
func (a *arrowFile) metadata() (b []byte, member int, err error) {
	const lengthBytes = 4
	var length [lengthBytes]byte
	at := a.file.Bytes - int64(len(arrowMagic)) - lengthBytes
	if a.stream {
		at = lengthBytes // after the mark that begins a message
	}
	if _, err := a.file.ReadAt(length[:], at); err != nil {
		return nil, 0, err
	}
	size := int64(binary.LittleEndian.Uint32(length[:]))
	first, member := at-size, footerSchema
	if a.stream {
		first, member = at+lengthBytes, messageHeader
	}
	if first < 0 || first+size > a.file.Bytes {
		return nil, 0, io.ErrUnexpectedEOF
	}
	b = make([]byte, size)
	if _, err := a.file.ReadAt(b, first); notEOF(err) != nil {
		return nil, 0, dataset.ReadError(a.path, err)
	}
	return b, member, nil
}

// checkMessages checks all messages: those that a file's footer names, or those of a stream, one after the other.
func (a *arrowFile) checkMessages(footer flatbuffers.Table) error {
	if a.stream {
		for at := int64(0); ; {
			next, err := a.checkMessage(at)
			if err != nil || next == 0 {
				return err
			}
			at = next
		}
	}
	for _, member := range []int{footerDictionaries, footerBatches} {
		start, n, err := vectorIn(footer, member, blockBytes)
		if err != nil {
			return err
		}
		for i := range flatbuffers.UOffsetT(n) {
			if _, err := a.checkMessage(footer.GetInt64(start + i*blockBytes)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkMessage checks the message at an offset, and returns where the next one is; 0 after the last.
func (a *arrowFile) checkMessage(at int64) (next int64, err error) {
	var b [8]byte // a mark, which early versions of the format lack, and the length of the metadata
	if _, err := a.file.ReadAt(b[:], at); err != nil {
		return 0, io.ErrUnexpectedEOF
	}
	mark, size := binary.LittleEndian.Uint32(b[:]), int64(binary.LittleEndian.Uint32(b[4:]))
	if at += 8; mark != math.MaxUint32 {
		at, size = at-4, int64(mark)
	}
	if size == 0 {
		return 0, nil
	}
	if size > a.file.Bytes-at {
		return 0, io.ErrUnexpectedEOF
	}
	metadata := make([]byte, size)
	if _, err := a.file.ReadAt(metadata, at); notEOF(err) != nil {
		return 0, dataset.ReadError(a.path, err)
	}
	message := flatbuffers.Table{Bytes: metadata, Pos: flatbuffers.GetUOffsetT(metadata)}
	if _, _, err := vectorIn(message, messageMetadata, flatbuffers.SizeUOffsetT); err != nil {
		return 0, err
	}
	var body int64
	if o := offsetOf(message, messageBodyLength); o != 0 {
		body = message.GetInt64(message.Pos + o)
	}
	if body < 0 || body > a.file.Bytes-at-size {
		return 0, io.ErrUnexpectedEOF
	}
	return at + size + body, nil
}

// checkVectors checks the vectors of a schema or a field, and those of the fields in it.
func checkVectors(t flatbuffers.Table, fields, metadata int) error {
	if _, _, err := vectorIn(t, metadata, flatbuffers.SizeUOffsetT); err != nil {
		return err
	}
	start, n, err := vectorIn(t, fields, flatbuffers.SizeUOffsetT)
	if err != nil {
		return err
	}
	for i := range flatbuffers.UOffsetT(n) {
		field := flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(start + i*flatbuffers.SizeUOffsetT)}
		if err := checkVectors(field, fieldChildren, fieldMetadata); err != nil {
			return err
		}
	}
	return nil
}

// offsetOf is where a member of a table lies; 0 where it is not there.
func offsetOf(t flatbuffers.Table, member int) flatbuffers.UOffsetT {
	return flatbuffers.UOffsetT(t.Offset(flatbuffers.VOffsetT(4 + 2*member)))
}

// tableIn is the table that is a member of another.
func tableIn(t flatbuffers.Table, member int) (flatbuffers.Table, bool) {
	o := offsetOf(t, member)
	if o == 0 {
		return t, false
	}
	return flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(t.Pos + o)}, true
}

// vectorIn is where a vector begins that is a member of a table, and its length. Its elements have so many bytes.
func vectorIn(t flatbuffers.Table, member int, size int64) (start flatbuffers.UOffsetT, n int, err error) {
	o := offsetOf(t, member)
	if o == 0 {
		return 0, 0, nil
	}
	start, n = t.Vector(o), t.VectorLen(o)
	if int64(n)*size > int64(len(t.Bytes))-int64(start) {
		return 0, 0, errLengths
	}
	return start, n, nil
}
