package main

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/go-easyops/easyops/test/browser"
)

// pictures are the files, and what is on them.
var pictures = []struct {
	name, addr, path string
	browser.Look
}{
	{"overview", echoes[0], "/internal/", browser.Look{Width: 1280, Height: 1000}},
	{"overview-dark", echoes[0], "/internal/", browser.Look{Width: 1280, Height: 1000, Dark: true}},
	{"overview-phone", echoes[0], "/internal/", browser.Look{Width: browser.PhoneWidth, Height: browser.PhoneHeight, Scale: 2}},
	{"help", greeter, "/internal/help", browser.Look{Width: 1280, Height: 1000}},
	{"api", greeter, "/internal/service-info/api", browser.Look{Width: 1280, Height: 1000}},
	{"parameters", echoes[0], "/internal/parameters", browser.Look{Width: 1280, Height: 1000}},
	{"callers", echoes[0], "/internal/service-info/grpc-callers", browser.Look{Width: 1280, Height: 800}},
	{"connections", greeter, "/internal/service-info/grpc-connections", browser.Look{Width: 1280, Height: 1000}},
}

// picture takes the pictures, as the operator sees the pages.
func (c *cluster) picture(ctx context.Context, dir string) error {
	ctx, stop, err := browser.New(ctx, c.spki...)
	if err != nil {
		return err
	}
	defer stop()
	tab, shut, err := browser.NewTab(ctx)
	if err != nil {
		return err
	}
	defer shut()
	header := network.Headers{"Authorization": "Bearer " + c.token("ada", "sre")}
	if _, err := chromedp.Call(tab, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: header}); err != nil {
		return err
	}
	for _, p := range pictures {
		status, err := tab.Open("https://"+p.addr+p.path, p.Look)
		if err != nil || status != 200 {
			return fmt.Errorf("%s: %d %w", p.path, status, err)
		}
		if said := tab.Complaints(); len(said) > 0 {
			return fmt.Errorf("%s: %s", p.path, strings.Join(said, ", "))
		}
		shot, err := chromedp.Call(tab, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng})
		if err != nil {
			return err
		}
		if err := save(filepath.Join(dir, p.name+".png"), shot.Data); err != nil {
			return err
		}
	}
	return nil
}

// save writes a picture as small as it goes.
func save(file string, shot []byte) error {
	img, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return err
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, img); err != nil {
		return err
	}
	fmt.Printf("%s %d KB\n", file, small.Len()/1000)
	return os.WriteFile(file, small.Bytes(), 0o644)
}
