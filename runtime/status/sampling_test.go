package status

import (
	"runtime"
	"testing"
)

// Who asks for a profile of mutexes while another does, by another server of the
// process too, does not end what that one looks at.
func TestSamplingByTwo(t *testing.T) {
	now := func(want int) {
		t.Helper()
		if got := runtime.SetMutexProfileFraction(-1); got != want {
			t.Errorf("one of %d contentions is looked at, want %d", got, want)
		}
	}
	look := ofProcess["mutex"]
	first := look.begin()
	now(mutexFraction)
	second := look.begin()
	first()
	now(mutexFraction)
	second()
	now(0)
	runtime.SetMutexProfileFraction(7) // by the program
	defer runtime.SetMutexProfileFraction(0)
	first = look.begin()
	now(7)
	first()
	now(7)
}

func TestSamplingOfBlocking(t *testing.T) {
	rates := []bool{}
	own := false
	look := &sampling{by: func() bool { return own }, rate: func(on bool) { rates = append(rates, on) }}
	first, second := look.begin(), look.begin()
	second()
	first()
	own = true
	look.begin()()
	if len(rates) != 2 || !rates[0] || rates[1] {
		t.Errorf("set to %v", rates)
	}
}
