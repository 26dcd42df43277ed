package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/runtime/status"
)

// rowOf is a row of a list of an instance.
type rowOf[T any] struct {
	instance string
	row      T
}

// merged are the rows of lists of several instances.
type merged[T any] struct {
	rows    []rowOf[T]
	matched int // with those that are on other pages of the lists
}

// mergeRows puts the lists of instances together in the order that each is in, as
// far as orders has it.
func mergeRows[P, T any](answers []answer[P], orders map[string]func(a, b T) int, list func(*P) ([]T, status.Listed)) *merged[T] {
	m := &merged[T]{}
	sort := ""
	for _, a := range answers {
		if a.Page == nil {
			continue
		}
		rows, listed := list(a.Page)
		m.matched += max(listed.Matched, len(rows))
		sort = listed.Sort
		for _, row := range rows {
			m.rows = append(m.rows, rowOf[T]{a.Instance, row})
		}
	}
	key, descends := strings.CutPrefix(sort, "-")
	if order := orders[key]; order != nil {
		slices.SortStableFunc(m.rows, func(a, b rowOf[T]) int {
			if descends {
				a, b = b, a
			}
			return order(a.row, b.row)
		})
	}
	return m
}

// first are the first rows. What is left out is said.
func (m *merged[T]) first(warn io.Writer, limit int) []rowOf[T] {
	rows := m.rows[:min(len(m.rows), limit)]
	if len(rows) < m.matched {
		fmt.Fprintf(warn, "easyops: %d of %d are shown: --limit asks for more, --filter for others\n", len(rows), m.matched)
	}
	return rows
}
