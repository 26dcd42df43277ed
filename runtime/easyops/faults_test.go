package easyops

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/runtime/registry"
)

// Each line says what the error around the joined ones says.
func TestFaults(t *testing.T) {
	one, two, three := errors.New("one"), errors.New("two"), errors.New("three")
	for name, test := range map[string]struct {
		err  error
		want string // separated by |
	}{
		"one":               {one, "one"},
		"wrapped":           {fmt.Errorf("a: %w", one), "a: one"},
		"joined":            {errors.Join(one, two), "one|two"},
		"wrapped join":      {fmt.Errorf("a: %w (b)", errors.Join(one, two)), "a: one (b)|a: two (b)"},
		"twice wrapped":     {fmt.Errorf("a: %w", errors.Join(one, fmt.Errorf("b: %w", errors.Join(two, three)))), "a: one|a: b: two|a: b: three"},
		"wrap of a wrap":    {fmt.Errorf("a: %w", fmt.Errorf("b: %w", errors.Join(one, two))), "a: b: one|a: b: two"},
		"two verbs":         {fmt.Errorf("a\n%w, %w", one, two), "a\none, two"},
		"lines of its own":  {errors.New("a\nb"), "a\nb"},
		"not in the text":   {hiding{one}, "x\ny"},
		"hides a join":      {hiding{errors.Join(one, two)}, "x\ny"},
		"wraps without a w": {fmt.Errorf("a: %w", hiding{errors.Join(one, two)}), "a: x\ny"},
	} {
		var got []string
		for _, e := range faults(test.err) {
			got = append(got, e.Error())
		}
		wantEqual(t, name, strings.Join(got, "|"), test.want)
	}
	for _, e := range faults(fmt.Errorf("a: %w", errors.Join(one, one))) {
		if !errors.Is(e, one) {
			t.Errorf("%v has lost what it is", e)
		}
	}
}

// hiding says nothing of what it wraps.
type hiding struct{ err error }

func (h hiding) Error() string { return "x\ny" }
func (h hiding) Unwrap() error { return h.err }

// startFaults are the lines of a start that fails.
func startFaults(t *testing.T, opts ...ServerOption) []string {
	t.Helper()
	impl := &funcs{}
	s, err := Start([]Service{impl.service()}, append([]ServerOption{WithFlags(nil), WithRegistry("none")}, opts...)...)
	if err == nil {
		_ = s.Shutdown(t.Context())
		t.Fatal("it was started")
	}
	return strings.Split(err.Error(), "\n")
}

// Each fault of a registry's URL names the setting, for servers and for clients.
func TestEachFaultOfTheRegistryNamesTheSetting(t *testing.T) {
	const url, setting = "faulty://x", "-easyops.registry or EASYOPS_REGISTRY: registry \"faulty://x\": "
	registry.RegisterDriver("faulty", func(url string, _ *slog.Logger) (registry.Registry, error) {
		return nil, fmt.Errorf("registry %q: %w", url, errors.Join(errors.New("no host"), errors.New("no prefix")))
	})
	err := func() error { _, err := Dial("a.B", WithFlags(nil), WithRegistry(url)); return err }()
	for what, lines := range map[string][]string{"server": startFaults(t, WithRegistry(url)), "client": strings.Split(fmt.Sprint(err), "\n")} {
		if len(lines) != 2 || !anyLine(lines, setting, "no prefix") || !anyLine(lines, setting, "no host") {
			t.Errorf("%s:\n%s", what, strings.Join(lines, "\n"))
		}
	}
	for _, e := range faults(err) {
		if !strings.HasPrefix(e.Error(), "easyops: dial a.B: "+setting) {
			t.Errorf("a line of Main: %v", e)
		}
	}
}

// A setting of the entry is blamed for its own faults alone, each on a line.
func TestFaultsOfTheEntryNameTheirSetting(t *testing.T) {
	const tags, owner = "-easyops.tags or EASYOPS_TAGS (WithTags): ", "-easyops.owner or EASYOPS_OWNER (WithOwner): "
	many := make([]string, 0, 60)
	for i := range 30 {
		many = append(many, fmt.Sprintf("tag%d", i), strings.Repeat("x", 256))
	}
	for name, test := range map[string]struct {
		opts []ServerOption
		want []string
	}{
		"tag":       {[]ServerOption{WithTags("a b", "1"), WithOwner("ann with spaces")}, []string{tags + `tag "a b"`}},
		"two tags":  {[]ServerOption{WithTags("a b", "1", "c", "\n")}, []string{tags + `tag "a b"`, tags + `tag "c"`}},
		"owner":     {[]ServerOption{WithTags("a", "1"), WithOwner("ann\n")}, []string{owner + `owner "ann\n"`}},
		"both":      {[]ServerOption{WithTags("a b", "1"), WithOwner("ann\n")}, []string{owner, tags}},
		"too long":  {[]ServerOption{WithTags(many...), WithOwner("ann")}, []string{tags + "entry of "}},
		"twice":     {[]ServerOption{WithTags("a", "b", "a", "c")}, []string{`WithTags: the tag "a" is given twice`}},
		"odd pairs": {[]ServerOption{WithTags("a")}, []string{"WithTags: 1 arguments"}},
	} {
		lines := startFaults(t, test.opts...)
		if len(lines) != len(test.want) {
			t.Errorf("%s: %q", name, lines)
		}
		for _, want := range test.want {
			if !anyLine(lines, want) {
				t.Errorf("%s: %q is missing in %q", name, want, lines)
			}
		}
	}
	err := newConfig().setTags("a=b,zone=1,a=c")
	if err == nil || !strings.Contains(err.Error(), `"a" is given twice`) {
		t.Errorf("a list with a tag twice: %v", err)
	}
}

// A developer's name may have spaces.
func TestOwnerWithSpaces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{}, WithOwner("Ann von Ähren"))
		wantEqual(t, "owner", r.allInstances(registry.Ready)[0].Owner, "Ann von Ähren")
	})
}
