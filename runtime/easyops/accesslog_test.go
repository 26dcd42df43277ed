package easyops

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// failing is a server whose unary method fails with the code and the message
// that the request asks for.
func failing(_ context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	time.Sleep(20 * time.Millisecond)
	if s := in.GetResponseStatus(); s != nil {
		return nil, status.Error(codes.Code(s.Code), s.Message) // #nosec G115 -- of the test's own
	}
	return &testpb.SimpleResponse{}, nil
}

func askFor(code codes.Code, msg string) *testpb.SimpleRequest {
	return &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: int32(code), Message: msg}} // #nosec G115
}

func TestAccessLogOfFailedCalls(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: failing})
		client := r.client()
		hostile := "a\r\nlevel=ERROR\x1b[31m\u202e\u2066\u200b\x00" + strings.Repeat("x", 1<<10)
		_, err := client.UnaryCall(t.Context(), askFor(codes.Internal, hostile))
		wantCode(t, err, codes.Internal)
		line := r.log.one(t, "call")
		wantEqual(t, "method", line.text("method"), unaryMethod)
		wantEqual(t, "code", line.text("code"), "Internal")
		wantEqual(t, "level", line.text("level"), "ERROR")
		if d, _ := line["duration"].(float64); time.Duration(d) < 20*time.Millisecond || time.Duration(d) > time.Second {
			t.Errorf("duration: %v", line["duration"])
		}
		if line.text("peer") == "" || line.text("peer") == "unknown" {
			t.Errorf("peer: %q", line.text("peer"))
		}
		got := line.text("err")
		if strings.ContainsAny(got, "\r\n\x1b\u202e\u2066\u200b\x00") || len([]rune(got)) > 256 {
			t.Errorf("err is not cleaned: %q", got)
		}
		if !strings.Contains(got, "level=ERROR") {
			t.Errorf("err lacks the message: %q", got)
		}
		wantEqual(t, "samples", r.sample("grpc_server_call_duration_seconds", "grpc_method", unaryMethod, "grpc_status", "INTERNAL"), 1)
	})
}

func TestAccessLogOfRefusedAndUnknownCalls(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}).exposed()
		conn := r.dial()
		for _, m := range []string{unaryMethod, "no.such/\u202eMethod"} {
			err := conn.Invoke(t.Context(), "/"+m, &testpb.Empty{}, &testpb.Empty{})
			wantCode(t, err, codes.Unauthenticated)
		}
		lines := r.log.lines("call")
		wantEqual(t, "lines", len(lines), 2)
		wantEqual(t, "method", lines[0].text("method"), unaryMethod)
		if strings.Contains(lines[1].text("method"), "\u202e") {
			t.Errorf("method: %q", lines[1].text("method"))
		}
	})
}

// A flood of failures is not a flood of lines, and how many were left out is said.
func TestAccessLogIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return nil, status.Error(codes.NotFound, "no such thing")
		}})
		client := r.client()
		call := func(n int) {
			for range n {
				_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
				wantCode(t, err, codes.NotFound)
			}
		}
		call(500) // all in one second of the bubble
		wantEqual(t, "lines", len(r.log.lines("call")), linesPerSecond)
		time.Sleep(1100 * time.Millisecond)
		call(2)
		lines := r.log.lines("call")
		wantEqual(t, "lines", len(lines), linesPerSecond+2)
		wantEqual(t, "suppressed", lines[linesPerSecond]["suppressed"], any(float64(450)))
		if _, again := lines[linesPerSecond+1]["suppressed"]; again {
			t.Error("suppressed lines are reported twice")
		}
	})
}

func TestAccessLogSamplesGoodCalls(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{})
		client := r.client()
		const n = 4000
		for i := range n {
			_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.OK)
			if i%10 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		// 40 are to be expected; fewer than 5 or more than 120 do not happen.
		lines := r.log.lines("call")
		if len(lines) < 5 || len(lines) > 120 {
			t.Errorf("%d of %d good calls were logged, want about one in 100", len(lines), n)
		}
		for _, line := range lines {
			wantEqual(t, "level", line.text("level"), "INFO")
			wantEqual(t, "code", line.text("code"), "OK")
		}
	})
}

func TestLevels(t *testing.T) {
	for code, want := range map[codes.Code]slog.Level{
		codes.Unknown: slog.LevelError, codes.Internal: slog.LevelError, codes.DataLoss: slog.LevelError,
		codes.DeadlineExceeded: slog.LevelWarn, codes.Unavailable: slog.LevelWarn, codes.ResourceExhausted: slog.LevelWarn, codes.Unimplemented: slog.LevelWarn,
		codes.NotFound: slog.LevelInfo, codes.Canceled: slog.LevelInfo, codes.InvalidArgument: slog.LevelInfo, codes.Unauthenticated: slog.LevelInfo,
	} {
		wantEqual(t, code.String(), levelOf(code), want)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"plain ü 漢":                      "plain ü 漢",
		"a\tb\nc\x7f\u0085":              "a?b?c??",
		"\u200e\u2028\u202a\u2069\ufeff": "?????",
		"bad \xff utf-8":                 "bad \ufffd utf-8",
		strings.Repeat("ä", 300) + ": the cause": strings.Repeat("ä", 128) + "…" + strings.Repeat("ä", 116) + ": the cause",
		strings.Repeat("ä", 256):                 strings.Repeat("ä", 256),
	} {
		wantEqual(t, fmt.Sprintf("clean(%q)", in), clean(in), want)
	}
}

// Calls that end about the turn of a second do not reset the count of lines.
func TestAccessLogSecondsGoForward(t *testing.T) {
	var a accessLog
	n := 0
	for i := range int64(1000) {
		if allowed(&a.rest, 100+i%2) {
			n++
		}
	}
	if n > 2*linesPerSecond {
		t.Errorf("%d lines in two seconds, want at most %d", n, 2*linesPerSecond)
	}
}

func allowed(b *budget, second int64) bool {
	_, ok := b.take(time.Unix(second, 0), linesPerSecond)
	return ok
}

// What clients bring about does not hide the server's own faults, and a flood of
// panics is not a flood of lines.
func TestFloodHidesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			panic(strings.Repeat("x", 100_000))
		}})
		conn := r.dial()
		for range 1000 {
			_ = conn.Invoke(t.Context(), "/no.Such/Method", &testpb.Empty{}, &testpb.Empty{})
		}
		for range 100 {
			_, err := r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{})
			wantCode(t, err, codes.Internal)
		}
		if n := len(r.log.lines("panic")); n != panicsPerSec {
			t.Errorf("%d lines for 100 panics, want %d", n, panicsPerSec)
		}
		for _, line := range r.log.lines("panic") {
			if n := len(line.text("err")) + len(line.text("stack")); n > 16<<10 {
				t.Errorf("a line of %d bytes", n)
			}
		}
		internal := 0
		for _, line := range r.log.lines("call") {
			if line.text("code") == "Internal" {
				internal++
			}
		}
		if internal != linesPerSecond {
			t.Errorf("%d lines of failed calls after the flood, want %d", internal, linesPerSecond)
		}
	})
}
