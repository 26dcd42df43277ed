package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// idleTime is how long nobody may ask for a page before easyops open ends.
const idleTime = 8 * time.Hour

// openRequest is what a command line of easyops open asks for.
type openRequest struct {
	several
	noBrowser, byAddress bool
	port                 uint16
}

func openCommand() *cobra.Command {
	var r openRequest
	c := &cobra.Command{
		Use:   "open TARGET",
		Short: "Show the status pages of an instance in a browser.",
		Long: `
Serves the status pages of one instance to a browser on this machine, with who you
are to that instance: a browser needs neither your token nor your certificate. It
goes on until Ctrl-C, or until nobody has asked for a page for 8 hours; that one
refreshes itself is no asking. Of several instances of a service it asks which one;
where nobody answers it is the first.

It prints a URL for one browser: it is good once. From then on that browser has a
cookie, without which nothing is answered. On Linux other users of this machine
are refused besides. The name in the URL is one of this machine that only you
know, so that no other web page can ask there; a browser that does not find it
needs --by-address.
` + severalHelp + identityHelp,
		Example: `  easyops open echo.v1.EchoService
  easyops open --ca ca.pem --token-file alice.token 10.0.0.7:4100`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s: name one service or instance, as in: %s", words(c), firstExample(c))
			}
			return r.with(c, args, func(all []*server) error { return r.run(c, all) })
		},
	}
	r.several.findFlags(c)
	f := c.Flags()
	f.BoolVar(&r.noBrowser, "no-browser", false, "print the URL, and start no browser")
	f.BoolVar(&r.byAddress, "by-address", false, "have 127.0.0.1 in the URL, for browsers that do not find the name")
	f.Uint16Var(&r.port, "port", 0, "the `port` to serve on, else a free one")
	return c
}

func (r *openRequest) run(c *cobra.Command, all []*server) error {
	s, err := r.choose(c, all)
	if err != nil {
		return err
	}
	to := r.connect(s)
	defer to.close()
	ctx, stop := interruptible(c.Context())
	defer stop()
	if err := r.identify(ctx, to, s); err != nil {
		return fmt.Errorf("%s: %w", s.name(), err)
	}
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(r.port))))
	if err != nil {
		return fmt.Errorf("--port: %w", err)
	}
	door := newDoor(l.Addr().(*net.TCPAddr).Port, r.byAddress)
	browses := !r.noBrowser && interactive(c.OutOrStdout())
	door.leads = browses && kernelTells
	if _, err := fmt.Fprintf(c.OutOrStdout(), "The pages of %s, for one browser, until Ctrl-C:\n\n  %s\n\n", printable(s.name()), door.url()); err != nil {
		return errors.Join(err, l.Close())
	}
	if browses {
		defer browse(door, c.ErrOrStderr())()
	}
	return serveUntil(ctx, l, door.guard, relay(to), idleTime)
}

// choose returns the one that is meant of several.
func (r *openRequest) choose(c *cobra.Command, all []*server) (*server, error) {
	if len(all) == 1 {
		return all[0], nil
	}
	if !interactive(c.InOrStdin()) {
		fmt.Fprintf(c.ErrOrStderr(), "easyops: there are %d instances, and this is the first, %s\n", len(all), printable(all[0].name()))
		return all[0], nil
	}
	for n, s := range all {
		fmt.Fprintf(c.ErrOrStderr(), "%3d  %s  %s\n", n+1, printable(s.name()), printable(string(s.entry.Health)))
	}
	line, _ := prompt(c, "Which one? [1] ")
	if line == "" {
		return all[0], nil
	}
	n, err := strconv.Atoi(line)
	if err != nil || n < 1 || n > len(all) {
		return nil, usagef("there is no instance %q: answer a number from 1 to %d", line, len(all))
	}
	return all[n-1], nil
}

// serveUntil serves what a guard lets through until the context ends, or somebody
// has asked for nothing for as long as idle. What is under way then is cut off:
// profiles take long. What the guard refuses does not count, nor does what a page
// does by itself.
func serveUntil(ctx context.Context, l net.Listener, guard func(http.Handler) http.Handler, pages http.Handler, idle time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(idle, cancel)
	defer watch.Stop()
	server := &http.Server{
		Handler: guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if bySomebody(r) {
				watch.Reset(idle)
			}
			pages.ServeHTTP(w, r)
		})),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,

		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(slog.DiscardHandler, 0),
	}
	ended := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer ended()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// bySomebody tells whether a person has caused a request: pages that are open
// somewhere refresh themselves, and fetch what belongs to them. Browsers that do
// not say so count as persons.
func bySomebody(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return r.Method == http.MethodPost || mode == "" || mode == "navigate"
}

// explainTo answers with a sentence and nothing else.
func explainTo(w http.ResponseWriter, code int, text string) {
	careful(w.Header())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, strings.ToUpper(text[:1])+text[1:]+".\n")
}

// careful has browsers treat an answer of this program with care.
func careful(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
