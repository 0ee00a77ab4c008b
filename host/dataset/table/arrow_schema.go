package table

import (
	"encoding/binary"
	"errors"
	"io"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/quarry-hn/quarry/host/dataset"
)

// The members of Arrow's tables of metadata that checkSchema follows, by their numbers in the format's .fbs files.
const (
	footerSchema   = 1
	messageHeader  = 2
	schemaFields   = 1
	schemaMetadata = 2
	fieldChildren  = 5
	fieldMetadata  = 6
)

var errLengths = errors.New("its schema says that it has more entries than there is room for")

// checkSchema fails where the schema of a file has vectors that are longer than the metadata they are in. arrow-go takes memory for as many
// fields as the schema says there are, and Go cannot go on where it asked for more memory than there is.
func (a *arrowFile) checkSchema() (err error) {
	defer guard(a.path, &err)
	metadata, member, err := a.metadata()
	if err == nil {
		root := flatbuffers.Table{Bytes: metadata, Pos: flatbuffers.GetUOffsetT(metadata)}
		if schema, ok := tableIn(root, member); ok {
			err = checkVectors(schema, schemaFields, schemaMetadata)
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

// checkVectors checks the vectors of a schema or a field, and those of the fields in it.
func checkVectors(t flatbuffers.Table, fields, metadata int) error {
	if _, _, err := vectorIn(t, metadata); err != nil {
		return err
	}
	start, n, err := vectorIn(t, fields)
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

// vectorIn is where a vector of tables begins that is a member of a table, and its length.
func vectorIn(t flatbuffers.Table, member int) (start flatbuffers.UOffsetT, n int, err error) {
	o := offsetOf(t, member)
	if o == 0 {
		return 0, 0, nil
	}
	start, n = t.Vector(o), t.VectorLen(o)
	if int64(n)*flatbuffers.SizeUOffsetT > int64(len(t.Bytes))-int64(start) {
		return 0, 0, errLengths
	}
	return start, n, nil
}
