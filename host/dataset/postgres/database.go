package postgres

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quarry-hn/quarry/host/dataset"
	"github.com/quarry-hn/quarry/host/internal/excerpt"
)

// database is a connection in a transaction that sees one state of the database, and writes nothing.
type database struct {
	conn  *pgconn.PgConn
	types map[uint32]string // kinds, by their numbers in this database
}

// What errors advise.
const (
	urlHint   = "the URL is as postgres://user@host:5432/database; the password may be in PGPASSWORD or ~/.pgpass. In a URL / ? # @ and : of a password are written %2F %3F %23 %40 and %3A"
	tableHint = "a table is named as table or schema.table, in upper and lower case as psql's \\d shows it; or give a query, which begins with select"
	queryHint = "try the query in psql"
)

// parse reads a connection string. No error quotes it, since a password may be in it.
func parse(text string) (*pgconn.Config, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, dataset.FileError("the connection string", urlHint, "it is not a URL")
	}
	// Where / ? or # of a password was not escaped, the rest of it would be taken for a database or a parameter, and shown.
	if key, _, _ := strings.Cut(u.RawQuery, "="); u.Fragment != "" || strings.Contains(u.EscapedPath()+key, "@") {
		return nil, dataset.FileError("the connection string", urlHint, "it has a / ? # or @ where none can be")
	}
	config, err := pgconn.ParseConfig(text)
	if err != nil {
		_, problem, _ := strings.Cut(err.Error(), "`: ") // after the connection string
		return nil, dataset.FileError("the connection string", urlHint, "%s", excerpt.Text(problem))
	}
	config.RuntimeParams["client_encoding"] = "UTF8"
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "quarry"
	}
	return config, nil
}

// open connects, and begins the transaction. Close it after use.
func open(ctx context.Context, text string) (_ *database, err error) {
	config, err := parse(text)
	if err != nil {
		return nil, err
	}
	server := "PostgreSQL at " + config.Host
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, failure(server, err)
	}
	d := &database{conn, map[uint32]string{}}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if _, err := conn.Exec(ctx, "begin isolation level repeatable read read only").ReadAll(); err != nil {
		return nil, failure(server, err)
	}
	types := "select oid::bigint::text, typname from pg_type where typname in ('" + strings.Join(kinds, "', '") + "')"
	return d, d.each(ctx, server, types, func(row [][]byte) error {
		oid, err := strconv.ParseUint(string(row[0]), 10, 32)
		d.types[uint32(oid)] = string(row[1])
		return err
	})
}

// closing is how long the server is waited for when a connection is closed.
const closing = 5 * time.Second

func (d *database) close() {
	ctx, stop := context.WithTimeout(context.Background(), closing)
	defer stop()
	_ = d.conn.Close(ctx) // all that was asked for is there, or the command has failed already
}

// each runs a query, and calls f for each of its rows, in order, until f fails. Values are in PostgreSQL's binary format,
// nil for null, and valid only during the call. A row is read once it is asked for, so one is in memory at a time; the
// server waits meanwhile. Where each has failed the connection can only be closed. source is what messages call what is
// read.
func (d *database) each(ctx context.Context, source, query string, f func(row [][]byte) error) error {
	const binary = 1
	rows := d.conn.ExecParams(ctx, query, nil, nil, nil, []int16{binary})
	for rows.NextRow() {
		if err := f(rows.Values()); err != nil {
			return err
		}
	}
	if _, err := rows.Close(); err != nil {
		return failure(source, err)
	}
	return nil
}

// hints say what to do about errors of PostgreSQL, by their codes. For all others it is queryHint.
var hints = map[string]string{
	"28000": urlHint,
	"28P01": urlHint,
	"3D000": urlHint,
	"3F000": tableHint,
	"42P01": tableHint,
	"42501": "grant the user the right to select there",
}

// failure is an error of the server, or of the way to it.
func failure(source string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	e := &dataset.Error{Path: source, Row: -1, Problem: excerpt.Text(err.Error()), Hint: "check that the server runs, that it can be reached from here, and its log", Err: err}
	if refused := (*pgconn.PgError)(nil); errors.As(err, &refused) {
		e.Problem, e.Hint = excerpt.Text(refused.Message), cmp.Or(hints[refused.Code], queryHint)
	}
	return e
}
