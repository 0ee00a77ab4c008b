package postgres

import (
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A stand-in for PostgreSQL, which knows the statements of an import and no others. The example in plugin/examples/postgres runs them on
// a real one. Its tables give their rows as they are, so they must be in the order that is asked for.

// tables are what the server has, by name. A query is a table whose name is its text.
type tables map[string]*table

// table has columns, each with its type, and rows of what an import selects of them, as PostgreSQL sends it: nil is null.
type table struct {
	columns [][2]string
	rows    [][]any // string or []byte or nil
	counted int     // what count(*) says beside the rows there are

	refuses string // an error of the server, code and message, in place of any answer
	unknown []any  // the row of the query for judgements of unknown ids
	twice   []any  // the row of the query for pairs with two scores
}

// The numbers of types. Those of pgvector's differ from database to database.
var oids = map[string]uint32{"text": 25, "integer": 23, "bit": 1560, "vector": 70001, "halfvec": 70002, "sparsevec": 70003}

const password = "s3cret"

// serve starts a server, and gives the URL of its database.
func (ts tables) serve(t *testing.T) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // it is closed
			}
			sessions.Go(func() { defer conn.Close(); ts.session(conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); sessions.Wait() })
	return "postgres://reader:" + password + "@" + listener.Addr().String() + "/shop?sslmode=disable"
}

// session answers a connection until it ends.
func (ts tables) session(conn net.Conn) {
	b := pgproto3.NewBackend(conn, conn)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationCleartextPassword{})
	if b.Flush() != nil || b.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
		return
	}
	if given, err := b.Receive(); err != nil || given.(*pgproto3.PasswordMessage).Password != password {
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: `password authentication failed for user "reader"`})
		_ = b.Flush()
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte("1234")})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	var statement string
	for b.Flush() == nil {
		message, err := b.Receive()
		if err != nil {
			return
		}
		switch m := message.(type) {
		case *pgproto3.Query:
			if m.String == "begin isolation level repeatable read read only" {
				b.Send(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")})
			} else {
				b.Send(refusal("42601 this is not how an import begins"))
			}
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'T'})
		case *pgproto3.Parse:
			statement = m.Query
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Bind:
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Describe:
			ts.describe(b, statement, m.ObjectType == 'S')
		case *pgproto3.Execute:
			ts.execute(b, statement)
		case *pgproto3.Sync:
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'T'})
		case *pgproto3.Terminate:
			return
		}
	}
}

// source finds what a statement selects from: the first table or query in it.
var source = regexp.MustCompile(`from (?:((?:"[^"]*"\.?)+)|\(((?s:[^()]*))\n\)) as rows`)

func (ts tables) of(statement string) *table {
	m := source.FindStringSubmatch(statement)
	if m == nil {
		return nil
	}
	return ts[strings.ReplaceAll(m[1], `"`, "")+m[2]]
}

func refusal(text string) *pgproto3.ErrorResponse {
	code, message, _ := strings.Cut(text, " ")
	return &pgproto3.ErrorResponse{Severity: "ERROR", Code: code, Message: message}
}

func (ts tables) describe(b *pgproto3.Backend, statement string, prepared bool) {
	t := ts.of(statement)
	if strings.HasPrefix(statement, "select * from ") && t == nil {
		b.Send(refusal("42P01 relation does not exist"))
		return
	}
	if t != nil && t.refuses != "" {
		b.Send(refusal(t.refuses))
		return
	}
	if prepared {
		b.Send(&pgproto3.ParameterDescription{})
	}
	var d pgproto3.RowDescription
	if t != nil {
		for _, c := range t.columns {
			d.Fields = append(d.Fields, pgproto3.FieldDescription{Name: []byte(c[0]), DataTypeOID: oids[c[1]]})
		}
	}
	b.Send(&d)
}

func (ts tables) execute(b *pgproto3.Backend, statement string) {
	for _, row := range ts.answer(statement) {
		var d pgproto3.DataRow
		for _, value := range row {
			switch v := value.(type) {
			case nil:
				d.Values = append(d.Values, nil)
			case string:
				d.Values = append(d.Values, []byte(v))
			case []byte:
				d.Values = append(d.Values, v)
			}
		}
		b.Send(&d)
	}
	b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT")})
}

// answer is the rows of a statement.
func (ts tables) answer(statement string) (rows [][]any) {
	t := ts.of(statement)
	one := func(row []any) [][]any {
		if row == nil {
			return nil
		}
		return [][]any{row}
	}
	switch {
	case strings.Contains(statement, "from pg_type"):
		for name, oid := range oids {
			if strings.Contains(statement, "'"+name+"'") {
				rows = append(rows, []any{strconv.Itoa(int(oid)), name})
			}
		}
		return rows
	case strings.Contains(statement, "not exists"):
		return one(t.unknown)
	case strings.Contains(statement, "having"):
		return one(t.twice)
	case strings.HasPrefix(statement, "select count(*)"):
		return one([]any{strconv.Itoa(len(t.rows) + t.counted)})
	}
	if !strings.Contains(statement, ` order by "`) || !strings.HasSuffix(statement, `collate "C"`) {
		return nil // in no order
	}
	return t.rows
}
