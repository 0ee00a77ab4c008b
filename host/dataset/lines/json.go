package lines

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

// Unmarshal decodes a line that is JSON as Python's json module writes it. Where it writes NaN, Infinity or -Infinity,
// which JSON does not have, there is null.
func Unmarshal(line []byte, to any) error {
	err := json.Unmarshal(line, to)
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		if sound := withoutNaN(line); sound != nil {
			return json.Unmarshal(sound, to)
		}
	}
	return err
}

// noNumbers are what Python's json module writes for floats that JSON does not have.
var noNumbers = [][]byte{[]byte("NaN"), []byte("Infinity"), []byte("-Infinity")}

// withoutNaN returns a line with null for NaN, Infinity and -Infinity outside of strings. It returns nil where there is
// none of them.
func withoutNaN(line []byte) []byte {
	var sound []byte
	from := 0 // where the part of the line begins that sound does not have yet
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '"':
			i = endOfString(line, i)
		case 'N', 'I', '-':
			for _, word := range noNumbers {
				if bytes.HasPrefix(line[i:], word) {
					sound = append(append(sound, line[from:i]...), "null"...)
					from = i + len(word)
					i = from - 1
					break
				}
			}
		}
	}
	if sound == nil {
		return nil
	}
	return append(sound, line[from:]...)
}

// endOfString is where the string ends that begins at a line's byte i, or the last byte where it does not end.
func endOfString(line []byte, i int) int {
	for i++; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(line) - 1
}

// Names says, for members that are read, what a file calls them: by the name that is read, that of the file. Where the
// file's name is empty, the member is not read. The others have their own names.
type Names map[string]string

// Rename has the member of the file's name read as the first of some names, which are names for the same, and the others
// of them not read. An empty name renames nothing.
func (n Names) Rename(from string, to ...string) Names {
	if from == "" {
		return n
	}
	for i, name := range to {
		n[name] = ""
		if i == 0 {
			n[name] = from
		}
	}
	return n
}

// Apply returns the object of a line with its members renamed. A line that is no object is an error.
func (n Names) Apply(line []byte) ([]byte, error) {
	if len(n) == 0 {
		return line, nil
	}
	var members map[string]json.RawMessage
	if err := Unmarshal(line, &members); err != nil {
		return nil, err
	}
	renamed := maps.Clone(members)
	for name, from := range n {
		delete(renamed, name)
		if value, ok := members[from]; ok && from != "" {
			renamed[name] = value
		}
	}
	return json.Marshal(renamed)
}

// Fingerprint is that of a file, whose own is sum, with its members renamed.
func (n Names) Fingerprint(sum string) (string, error) {
	if len(n) == 0 {
		return sum, nil
	}
	names, err := json.Marshal(n) // in the order of the keys
	own := sha256.Sum256(append([]byte(sum), names...))
	return hex.EncodeToString(own[:]), err
}

// ID is an id in JSON: a string, or a number, whose id is the number as it is written. What is neither is kept for
// Problem, since a member of that name may be something that nobody reads.
type ID struct {
	Text  string // empty for null, and for what is no id
	wrong string // what was found instead
}

// UnmarshalJSON decodes an id.
func (id *ID) UnmarshalJSON(value []byte) error {
	switch c := value[0]; {
	case c == 'n': // null, which leaves a member as it is
		return nil
	case c == '"':
		id.wrong = ""
		return json.Unmarshal(value, &id.Text)
	case c == '-' || c >= '0' && c <= '9':
		*id = ID{Text: string(value)}
	default:
		*id = ID{wrong: map[byte]string{'{': "an object", '[': "an array"}[c]}
		if id.wrong == "" {
			id.wrong = "true or false"
		}
	}
	return nil
}

// Problem says what is wrong with an id that was read as the member of a name; it is empty where nothing is.
func (id *ID) Problem(name string) string {
	switch {
	case id.wrong != "":
		return name + " is " + id.wrong + "; it is a string or a number"
	case id.Text == "":
		return "no " + name
	}
	return ""
}

// Texts are a text in JSON, or an array of texts. Empty ones are left out.
type Texts []string

// UnmarshalJSON decodes texts.
func (x *Texts) UnmarshalJSON(value []byte) error {
	some := make([]string, 1)
	to := any(&some[0])
	if value[0] == '[' {
		to = &some
	}
	err := json.Unmarshal(value, to)
	*x = slices.DeleteFunc(some, func(text string) bool { return text == "" })
	return err
}
