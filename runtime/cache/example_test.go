package cache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/go-easyops/easyops/runtime/cache"
)

type User struct{ Name string }

// users is listed as "users" by every server of the process.
var users = cache.New[string, User]("users", cache.Options{MaxEntries: 10_000, TTL: time.Minute})

// fromDatabase stands for what is dear.
func fromDatabase(_ context.Context, id string) (User, error) {
	fmt.Println("asking the database for", id)
	return User{Name: "Alice"}, nil
}

func ExampleCache_Load() {
	for range 2 {
		u, err := users.Load(context.Background(), "42", fromDatabase)
		fmt.Println(u.Name, err)
	}
	// Output:
	// asking the database for 42
	// Alice <nil>
	// Alice <nil>
}

func ExampleCache_Put() {
	prices := cache.New[string, int]("prices", cache.Options{})
	prices.Put("apple", 3)
	fmt.Println(prices.Get("apple"))
	prices.Delete("apple")
	fmt.Println(prices.Get("apple"))
	// Output:
	// 3 true
	// 0 false
}

func ExampleRegister() {
	templates := map[string]string{"hello": "Hello, {{.}}"} // a cache of another library
	remove := cache.Register("templates", func(context.Context) error {
		clear(templates)
		return nil
	})
	defer remove()
}
