// Package browser drives Debian's Chromium over the status pages, as people with
// a browser do.
package browser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// New starts a Chromium with an empty profile. It and the profile go when the
// function is called that it returns. It believes certificates of the public keys
// spki, each the base64 of the SHA-256 of a SubjectPublicKeyInfo.
func New(ctx context.Context, spki ...string) (context.Context, context.CancelFunc, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, nil, errors.New("chromium is missing: install Debian's package chromium, or run .ci/parts as root")
	}
	profile, err := os.MkdirTemp("", "browser-")
	if err != nil {
		return nil, nil, err
	}
	ctx, stop := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(spki, ",")),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("font-render-hinting", "none"))...)
	ctx, end := chromedp.NewContext(ctx)
	cancel := func() {
		_ = chromedp.Cancel(ctx) // it waits for the process
		end()
		stop()
		_ = os.RemoveAll(profile)
	}
	if err := chromedp.Do(ctx); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("chromium: %w", err)
	}
	return ctx, cancel, nil
}

// Look is how a page is looked at.
type Look struct {
	Dark          bool
	Width, Height int64
	Scale         float64 // of the device, 1 where it is 0
	NoScript      bool
}

// Sizes of [Look]: a phone, and a window on a desk.
const (
	PhoneWidth    = 390
	PhoneHeight   = 844
	DesktopWidth  = 1280
	DesktopHeight = 800
)

// String names the look.
func (l Look) String() string {
	word := func(is bool, yes, no string) string {
		if is {
			return yes
		}
		return no
	}
	return strings.Join([]string{
		word(l.Dark, "dark", "light"), word(l.Width < 600, "phone", "desktop"), word(l.NoScript, "without JavaScript", "with JavaScript"),
	}, ", ")
}

// apply makes a tab look so from the next page on.
func (l Look) apply(ctx context.Context) error {
	scheme := "light"
	if l.Dark {
		scheme = "dark"
	}
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	_, err2 := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: l.Width, Height: l.Height, DeviceScaleFactor: cmp.Or(l.Scale, 1), Mobile: l.Width < 600,
	})
	_, err3 := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.NoScript})
	return errors.Join(err, err2, err3)
}

// Tab is a tab whose complaints are heard.
type Tab struct {
	context.Context
	mu         sync.Mutex
	complaints []string
	status     int64 // of the last page
}

// NewTab opens a tab of a Chromium of [New].
func NewTab(ctx context.Context) (*Tab, context.CancelFunc, error) {
	ctx, cancel := chromedp.NewContext(ctx)
	t := &Tab{Context: ctx}
	if err := t.listen(); err != nil {
		cancel()
		return nil, nil, err
	}
	return t, cancel, nil
}

func (t *Tab) listen() error {
	if err := chromedp.Do(t); err != nil {
		return err
	}
	if err := chromedp.Listen(t, t.hear); err != nil {
		return err
	}
	_, err := chromedp.Call(t, log.Enable, cdp.Empty{})
	_, err2 := chromedp.Call(t, runtime.Enable, cdp.Empty{})
	_, err3 := chromedp.Call(t, network.Enable, network.EnableParams{})
	return errors.Join(err, err2, err3)
}

func (t *Tab) hear(event any) {
	switch e := event.(type) {
	case *log.EventEntryAdded:
		t.complain("log: %s %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
	case *runtime.EventConsoleAPICalled:
		for _, a := range e.Args {
			t.complain("console: %s %s%s", e.Type, a.Value, a.Description)
		}
	case *runtime.EventExceptionThrown:
		t.complain("exception: %v", e.ExceptionDetails)
	case *network.EventLoadingFailed:
		if !e.Canceled {
			t.complain("not loaded: %s %s", e.ErrorText, e.BlockedReason)
		}
	case *network.EventResponseReceived:
		t.mu.Lock()
		defer t.mu.Unlock()
		if e.Type == network.ResourceTypeDocument {
			t.status = e.Response.Status
		}
	}
}

func (t *Tab) complain(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complaints = append(t.complaints, fmt.Sprintf(format, args...))
}

// Complaints are what the browser has said since the last call: errors of
// scripts, what the Content-Security-Policy forbids, what could not be loaded.
func (t *Tab) Complaints() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	said := t.complaints
	t.complaints = nil
	return said
}

// Open opens a page and returns its HTTP status.
func (t *Tab) Open(url string, look Look) (status int64, err error) {
	t.mu.Lock()
	t.status = 0
	t.mu.Unlock()
	if err = look.apply(t); err == nil {
		err = chromedp.Do(t, chromedp.Navigate(url))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status, err
}
