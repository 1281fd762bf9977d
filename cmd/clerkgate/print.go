package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// outputFlag selects the form in which users are printed.
type outputFlag struct {
	Output      string `short:"o" enum:"json,table,csv" default:"json" help:"The form of the output: json (of several users, one a line), table or csv. docs/cli.md describes them."`
	columnsFlag `embed:""`
}

// check returns an error if the flags do not fit together.
func (f outputFlag) check() error {
	if len(f.Columns) > 0 && f.Output == "json" {
		return usagef("--columns: only for --output csv or table; json has all fields")
	}
	_, err := parseColumns(f.Columns)
	return err
}

// userPrinter prints users one by one. It is made by newUserPrinter, and
// flushed at the end.
type userPrinter struct {
	out     *bufio.Writer
	table   *tabwriter.Writer // for a table, else nil
	csv     *csv.Writer       // for CSV, else nil
	columns []column          // nil: the table's own
	lines   bool              // one line of JSON for each user
}

// newUserPrinter returns a printer to out that has printed the header. Where several
// users may come, JSON has one of them on each line.
func newUserPrinter(out io.Writer, f outputFlag, several bool) (*userPrinter, error) {
	p, err := newUserPrinterWithoutHeader(out, f, several)
	if err != nil {
		return nil, err
	}
	return p, p.header()
}

// newUserPrinterWithoutHeader is newUserPrinter for an output that has the header already.
func newUserPrinterWithoutHeader(out io.Writer, f outputFlag, several bool) (*userPrinter, error) {
	names := f.Columns
	if f.Output == "csv" && len(names) == 0 {
		names = csvColumns
	}
	columns, err := parseColumns(names)
	if err != nil {
		return nil, err
	}
	p := &userPrinter{out: bufio.NewWriterSize(out, 64<<10), columns: columns, lines: several}
	switch f.Output {
	case "table":
		p.table = tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	case "csv":
		p.csv = csv.NewWriter(p.out)
	}
	return p, nil
}

// header prints the names of the columns.
func (p *userPrinter) header() (err error) {
	switch {
	case p.csv != nil:
		err = p.csv.Write(columnNames(p.columns))
	case p.table != nil && len(p.columns) > 0:
		_, err = fmt.Fprintln(p.table, strings.ToUpper(strings.Join(columnNames(p.columns), "\t")))
	case p.table != nil:
		_, err = fmt.Fprintln(p.table, "ID\tNAME\tEMAIL\tCREATED\tLAST SIGN-IN")
	}
	return err
}

// write prints u.
func (p *userPrinter) write(u *clerkgatev1.User) error {
	if p.csv != nil {
		return p.csv.Write(row(u, p.columns, csvCell))
	}
	if p.table == nil {
		return printJSON(p.out, u, !p.lines)
	}
	cells := ownRow(u)
	if len(p.columns) > 0 {
		cells = row(u, p.columns, func(c cell) string { return c.text })
	}
	for i := range cells {
		if cells[i] = oneLine(cells[i]); cells[i] == "" {
			cells[i] = "-"
		}
	}
	_, err := fmt.Fprintln(p.table, strings.Join(cells, "\t"))
	return err
}

// ownRow returns the cells of a table whose columns nobody chose.
func ownRow(u *clerkgatev1.User) []string {
	cells := []string{u.GetId(), fullName(u), primaryEmail(u), "", ""}
	if t := u.GetCreatedAt(); t != nil {
		cells[3] = t.AsTime().Format(time.DateTime)
	}
	if t := u.GetLastSignInAt(); t != nil {
		cells[4] = t.AsTime().Format(time.DateTime)
	}
	return cells
}

// flush writes what is buffered. A table is buffered as a whole, since its columns are
// as wide as their widest cells.
func (p *userPrinter) flush() error {
	switch {
	case p.table != nil:
		if err := p.table.Flush(); err != nil {
			return err
		}
	case p.csv != nil:
		p.csv.Flush()
		if err := p.csv.Error(); err != nil {
			return err
		}
	}
	return p.out.Flush()
}

// pageDone writes what has been printed, but for a table.
func (p *userPrinter) pageDone() error {
	if p.table != nil {
		return nil
	}
	return p.flush()
}

// isTerminal reports whether out is a terminal.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
