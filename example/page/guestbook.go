package main

import (
	"context"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	guestbookv1 "github.com/go-easyops/easyops/example/gen/guestbook/v1"
)

const (
	kept    = 100  // entries
	maxName = 100  // bytes
	maxText = 1000 // bytes
)

// guestbook keeps the last entries in memory.
type guestbook struct {
	guestbookv1.UnimplementedGuestbookServiceServer

	mu      sync.Mutex
	entries []*guestbookv1.Entry // the latest first; none is ever changed
}

func (g *guestbook) Sign(_ context.Context, req *guestbookv1.SignRequest) (*guestbookv1.SignResponse, error) {
	e := &guestbookv1.Entry{Name: strings.TrimSpace(req.GetName()), Text: strings.TrimSpace(req.GetText())}
	switch {
	case e.GetName() == "" || e.GetText() == "":
		return nil, status.Error(codes.InvalidArgument, "say who you are, and something")
	case len(e.GetName()) > maxName || len(e.GetText()) > maxText:
		return nil, status.Errorf(codes.InvalidArgument, "a name has %d bytes at most, and a text %d", maxName, maxText)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entries = slices.Insert(g.entries, 0, e)
	g.entries = g.entries[:min(len(g.entries), kept)]
	return &guestbookv1.SignResponse{Entry: e}, nil
}

func (g *guestbook) ListEntries(context.Context, *guestbookv1.ListEntriesRequest) (*guestbookv1.ListEntriesResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return &guestbookv1.ListEntriesResponse{Entries: slices.Clone(g.entries)}, nil
}
