package edgeattack

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// recorder is an HTTP/1.1 backend that writes down what reaches it, byte for byte,
// and takes nothing for granted: what is not a request in the strictest sense is a
// fault.
type recorder struct {
	addr string

	mu       sync.Mutex
	raw      bytes.Buffer
	requests []recorded
	faults   []string
}

// recorded is a request as it reached the backend.
type recorded struct {
	method, target string
	header         textproto.MIMEHeader // names as net/textproto has them
	names          []string             // names as they were sent
	body           string               // without framing
	whole          bool                 // it has come to its end
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{addr: l.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wg.Go(func() { defer conn.Close(); r.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return r
}

// Write notes raw bytes.
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raw.Write(p)
}

func (r *recorder) serve(conn net.Conn) {
	in := bufio.NewReader(io.TeeReader(conn, r))
	for {
		req, err := readStrictly(in)
		if err == io.EOF { //nolint:errorlint // it is a clean end only by itself
			return
		}
		r.mu.Lock()
		if req.whole = err == nil; !req.whole {
			r.faults = append(r.faults, err.Error())
		}
		if req.method != "" {
			r.requests = append(r.requests, req)
		}
		r.mu.Unlock()
		if err != nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
		answer := req.method + " " + req.target + " " + req.header.Get("X-Id")
		length := fmt.Sprintf("Content-Length: %d\r\n", len(answer))
		if req.method == "HEAD" {
			answer = ""
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+length+"\r\n"+answer); err != nil {
			return
		}
	}
}

var (
	requestLine = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z\x60-]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.1\r\n$`)
	field       = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z\x60-]+): ?([\t\x20-\x7e\x80-\xff]*)\r\n$`)
	chunkSize   = regexp.MustCompile(`^([0-9a-fA-F]{1,8})\r\n$`)
)

// readStrictly reads a request. It returns io.EOF where none begins.
func readStrictly(in *bufio.Reader) (r recorded, err error) {
	line, _ := in.ReadString('\n') // one that is cut is none
	if line == "" {
		return r, io.EOF
	}
	m := requestLine.FindStringSubmatch(line)
	if m == nil {
		return r, fmt.Errorf("request line %q", line)
	}
	r.method, r.target = m[1], m[2]
	if r.header, r.names, err = readFields(in); err != nil {
		return r, err
	}
	lengths, codings := r.header["Content-Length"], r.header["Transfer-Encoding"]
	switch {
	case len(r.header["Host"]) != 1:
		return r, fmt.Errorf("%d Hosts", len(r.header["Host"]))
	case len(lengths)+len(codings) > 1:
		return r, fmt.Errorf("Content-Length %q and Transfer-Encoding %q", lengths, codings)
	case len(codings) == 1:
		if codings[0] != "chunked" {
			return r, fmt.Errorf("Transfer-Encoding %q", codings)
		}
		return r, r.readChunks(in)
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 31)
		if err != nil {
			return r, err
		}
		body := make([]byte, n)
		_, err = io.ReadFull(in, body)
		r.body = string(body)
		if err != nil {
			return r, errCut
		}
	}
	return r, nil
}

// errCut is of a body that has no end: a client that went away, which is no fault
// of whoever forwarded it.
var errCut = fmt.Errorf("cut")

func readFields(in *bufio.Reader) (textproto.MIMEHeader, []string, error) {
	h, names := textproto.MIMEHeader{}, []string(nil)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return h, names, errCut
		}
		if line == "\r\n" {
			return h, names, nil
		}
		m := field.FindStringSubmatch(line)
		if m == nil {
			return h, names, fmt.Errorf("header line %q", line)
		}
		h.Add(m[1], m[2])
		names = append(names, m[1])
	}
}

func (r *recorded) readChunks(in *bufio.Reader) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return errCut
		}
		m := chunkSize.FindStringSubmatch(line)
		if m == nil {
			return fmt.Errorf("chunk %q", line)
		}
		n, _ := strconv.ParseUint(m[1], 16, 32)
		if n == 0 {
			trailer, names, err := readFields(in)
			for _, name := range names {
				r.names = append(r.names, "trailer "+name)
				r.header["Trailer "+name] = trailer.Values(name)
			}
			return err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return errCut
		}
		if string(chunk[n:]) != "\r\n" {
			return fmt.Errorf("chunk that ends in %q", chunk[n:])
		}
		r.body += string(chunk[:n])
	}
}

// take returns what has reached the backend since the last call.
func (r *recorder) take() (raw string, requests []recorded, faults []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	raw, requests = r.raw.String(), r.requests
	for _, f := range r.faults {
		if f != errCut.Error() {
			faults = append(faults, f)
		}
	}
	r.raw.Reset()
	r.requests, r.faults = nil, nil
	return raw, requests, faults
}

// String is the request in a line.
func (r recorded) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %q %.200q", r.method, r.target, r.header, r.body))
}
