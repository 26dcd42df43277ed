package easyopstest_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/flags"
)

func TestSetFlag(t *testing.T) {
	fs := flag.NewFlagSet(t.Name(), flag.ContinueOnError)
	limit := flags.New("limit", 100, "", flags.In(fs), flags.Validate(func(n int) error {
		if n < 1 {
			return errors.New("below 1: use 1 or more")
		}
		return nil
	}))
	names := flags.New("names", []string{"a"}, "", flags.In(fs))
	every := flags.New("every", time.Minute, "", flags.In(fs), flags.Static())
	password := flags.New("password", "", "", flags.In(fs))
	var told []int
	limit.OnChange(func(_, to int) { told = append(told, to) })
	if err := fs.Parse([]string{"-limit=200"}); err != nil {
		t.Fatal(err)
	}
	t.Run("sets", func(t *testing.T) {
		easyopstest.SetFlag(t, limit, 3)
		easyopstest.SetFlag(t, limit, 4)
		easyopstest.SetFlag(t, names, []string{"b", "c"})
		easyopstest.SetFlag(t, every, time.Second)
		easyopstest.SetFlag(t, password, "hunter2")
		if limit.Get() != 4 || len(names.Get()) != 2 || every.Get() != time.Second || password.Get() != "hunter2" {
			t.Error(limit.Get(), names.Get(), every.Get(), password.Get())
		}
	})
	if limit.Get() != 200 || len(names.Get()) != 1 || every.Get() != time.Minute || password.Get() != "" {
		t.Error(limit.Get(), names.Get(), every.Get(), password.Get())
	}
	if !slices.Equal(told, []int{200, 3, 4, 3, 200}) {
		t.Error(told)
	}
	var failed mustFail
	if easyopstest.SetFlag(&failed, limit, 0); !strings.Contains(failed.text, "flag limit: below 1: use 1 or more") || limit.Get() != 200 {
		t.Errorf("%q, %d", failed.text, limit.Get())
	}
}

// mustFail is a test that is to fail.
type mustFail struct {
	testing.TB
	text string
}

func (f *mustFail) Helper()                       {}
func (f *mustFail) Cleanup(func())                {}
func (f *mustFail) Fatalf(text string, of ...any) { f.text = fmt.Sprintf(text, of...) }
