package serve

type Foo_bar struct{}

func Undocumented() int { return 1 }
