// Command page serves guestbook.v1.GuestbookService, and a page for people in front
// of it: an HTML form that calls the service in the same process.
package main

import (
	"flag"
	"log/slog"

	guestbookv1 "github.com/go-easyops/easyops/example/gen/guestbook/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd" // etcd:// URLs
)

func main() {
	flag.Parse()
	easyops.Main(start())
}

// start serves both on one port. The registry lists them by two names: clients find
// guestbook.v1.GuestbookService, and proxies guestbook-page.
func start() (*easyops.Server, error) {
	book := &guestbook{}
	return guestbookv1.StartGuestbookServiceServer(book, withPage(book))
}

// withPage serves the page. It has the rule of the methods that it calls: called as
// Go functions, they pass none.
func withPage(book guestbookv1.GuestbookServiceServer) easyops.ServerOption {
	return easyops.WithHTTPService("guestbook-page", pagePath, newPage(book, slog.Default()), auth.Access{Allow: auth.Everyone})
}
