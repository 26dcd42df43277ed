package status

import (
	"cmp"
	"time"
)

// Identity is how callers are authenticated.
type Identity struct {
	// Callers says in a few words how far they are.
	Callers string
	// Operators says who they are.
	Operators string
	// Sources are what identity rests on.
	Sources []Source
}

// Source is something that identity rests on, such as a file of keys.
type Source struct {
	Name    string
	Where   string    // its files or URL
	What    string    // what is in force
	Since   time.Time // when that was read; zero is not yet
	Expires time.Time // zero is never
	Err     error     // why what is there now is not in force; nil where all is well
}

// expiresSoon is how long before its end something is shown as about to end.
const expiresSoon = 72 * time.Hour

func (i Identity) section() Section {
	sec := Section{ID: "identity", Title: "Identity", Body: []Block{KV{
		{"Callers", Str(i.Callers)},
		{"Operators", Str(i.Operators)},
	}}}
	for _, s := range i.Sources {
		sec.Body = append(sec.Body, Section{Title: s.Name, Body: []Block{s.pairs(time.Now())}})
	}
	return sec
}

func (s Source) pairs(now time.Time) KV {
	kv := KV{{"Where", Name(s.Where)}, {"In force", Str(cmp.Or(s.What, "nothing yet"))}}
	if !s.Since.IsZero() {
		kv = append(kv, Pair{"Since", Str(s.Since.UTC().Format(time.RFC3339))})
	}
	if !s.Expires.IsZero() {
		c := Str(s.Expires.UTC().Format(time.RFC3339))
		switch left := s.Expires.Sub(now); {
		case left <= 0:
			c.Tone = Bad
		case left < expiresSoon:
			c.Tone = Warn
		}
		kv = append(kv, Pair{"Expires", c})
	}
	if s.Err != nil {
		kv = append(kv, Pair{"Fault", Cell{Text: s.Err.Error(), Tone: Bad}})
	}
	return kv
}

func (i Identity) data() *IdentityData {
	d := &IdentityData{Callers: i.Callers, Operators: i.Operators, Sources: []SourceData{}}
	for _, s := range i.Sources {
		sd := SourceData{Name: s.Name, Where: s.Where, What: s.What, Since: timeOrNil(s.Since), Expires: timeOrNil(s.Expires)}
		if s.Err != nil {
			sd.Error = s.Err.Error()
		}
		d.Sources = append(d.Sources, sd)
	}
	return d
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
