package lines

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// kinds are what messages call the values of JSON, by the first byte.
var kinds = map[jsontext.Kind]string{'{': "an object", '[': "an array", '"': "a text", '0': "a number", 't': "true or false", 'f': "true or false", 'n': "null"}

// lenient takes what encoding/json took: a member twice, the last of which counts, and half of a surrogate pair.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// Unmarshal decodes a line that is JSON as Python's json module writes it. Where it writes NaN, Infinity or -Infinity,
// which JSON does not have, there is null. Members have exactly the names that they are asked for by: Text is not text.
func Unmarshal(line []byte, to any) error {
	err := json.Unmarshal(line, to, lenient)
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
		if sound := withoutNaN(line); sound != nil {
			err = json.Unmarshal(sound, to, lenient)
		}
	}
	return inWords(err)
}

// inWords is an error that names members, and neither packages nor types of a program.
func inWords(err error) error {
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
		return errors.New(strings.TrimPrefix(syntax.Error(), "jsontext: "))
	}
	e := (*json.SemanticError)(nil)
	if !errors.As(err, &e) {
		return err
	}
	what := "it"
	if e.JSONPointer != "" {
		what = "member " + excerpt.Quote(strings.TrimPrefix(string(e.JSONPointer), "/"))
	}
	switch is := kinds[e.JSONKind]; {
	case errors.Is(e.Err, json.ErrUnknownName):
		return fmt.Errorf("%s is not known", what)
	case e.Err != nil:
		return fmt.Errorf("%s: %w", what, e.Err)
	case is != "":
		return fmt.Errorf("%s is %s", what, is)
	}
	return fmt.Errorf("%s is not what it should be", what)
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

// Unseen are the members of a file's own names that no line of it had so far.
type Unseen map[string]bool

// Unseen are all of the file's own names.
func (n Names) Unseen() Unseen {
	u := Unseen{}
	for _, name := range n {
		if name != "" {
			u[name] = true
		}
	}
	return u
}

// Check is for the end of a file: a name that no line had is an error.
func (u Unseen) Check(path string) error {
	if len(u) == 0 {
		return nil
	}
	return dataset.FileError(path, "correct its name in texts.json", "no line has the member %s", excerpt.Quote(slices.Min(slices.Collect(maps.Keys(u)))))
}

// Apply returns the object of a line with its members renamed, and takes those that it has out of unseen, which may be nil. A
// line that is no object is an error.
func (n Names) Apply(line []byte, unseen Unseen) ([]byte, error) {
	if len(n) == 0 {
		return line, nil
	}
	var members map[string]jsontext.Value
	if err := Unmarshal(line, &members); err != nil {
		return nil, err
	}
	renamed := maps.Clone(members)
	for name := range members {
		delete(unseen, name)
	}
	for name, from := range n {
		delete(renamed, name)
		if value, ok := members[from]; ok && from != "" {
			renamed[name] = value
		}
	}
	return json.Marshal(renamed, lenient)
}

// Fingerprint is that of a file, whose own is sum, with its members renamed.
func (n Names) Fingerprint(sum string) (string, error) {
	if len(n) == 0 {
		return sum, nil
	}
	names, err := json.Marshal(n, json.Deterministic(true))
	own := sha256.Sum256(append([]byte(sum), names...))
	return hex.EncodeToString(own[:]), err
}

// UnmarshalFile decodes a file that is one JSON object, as a person writes it: strictly, but for a byte order mark.
func UnmarshalFile(text []byte, to any) error {
	return inWords(json.Unmarshal(bytes.TrimPrefix(text, byteOrderMark), to, json.RejectUnknownMembers(true)))
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
	case c == 'n': // null, as if the member were not there
		*id = ID{}
	case c == '"':
		*id = ID{}
		return json.Unmarshal(value, &id.Text, lenient)
	case c == '-' || c >= '0' && c <= '9':
		*id = ID{Text: string(value)}
	default:
		*id = ID{wrong: kinds[jsontext.Kind(c)]}
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
	if err := json.Unmarshal(value, to, lenient); err != nil {
		return errors.New("neither a text nor an array of texts")
	}
	*x = slices.DeleteFunc(some, func(text string) bool { return text == "" })
	return nil
}
