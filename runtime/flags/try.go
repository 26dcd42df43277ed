package flags

// SetForTest puts a value into force until the returned function is called. It is for
// the tests of who reads the flag: easyopstest.SetFlag calls it. The value is checked;
// beyond that, flags that are static or secret are set like others. The functions of
// [Flag.OnChange] are called as for a change on the command line.
//
// What an operator has changed for a time stays as it was before that.
func (f *Flag[T]) SetForTest(value T) (back func(), err error) {
	if err := f.check(value); err != nil {
		return nil, err
	}
	to := f.state(value)
	to.source = sourceTest
	former := f.entry.replace(to)
	return func() { f.entry.replace(former) }, nil
}

// replace puts a state into force for good and returns the former one.
func (e *entry) replace(s state) (former state) {
	write(func() {
		former = e.now
		if e.pending != nil {
			former = e.pending.base
		}
		e.cancel()
		e.become(s, nil)
	}).waitOrPanic()
	return former
}
