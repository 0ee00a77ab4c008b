package lines

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// byteOrderMark is what some programs begin a file of UTF-8 with.
const byteOrderMark = "\xef\xbb\xbf"

// UnmarshalFile decodes a file that is one JSON object, such as vectors.json. A member that is not known is an error, and so is what
// follows the object.
func UnmarshalFile(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte(byteOrderMark))))
	d.DisallowUnknownFields()
	err := d.Decode(to)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) { // whose own text names types of Go
		return fmt.Errorf("%s is of JSON's type %s", cmp.Or(wrong.Field, "the file"), wrong.Value)
	}
	if err == io.EOF {
		return errors.New("the file is empty")
	}
	if err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the object")
	}
	return nil
}
