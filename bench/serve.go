package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"syscall"
	"time"
)

// usage is what a server has needed since it was started.
type usage struct {
	CPU time.Duration // of all its threads, in user and kernel mode
	RSS int64         // bytes in memory now; where that cannot be asked, the most so far
}

// serve serves one variant, on a free port of the loopback interface if it is
// not told otherwise. It writes its address, and a usage for each line that it
// reads. It ends with its input.
func serve(args []string) error {
	fs := flag.NewFlagSet("serve", flag.ExitOnError)
	name := fs.String("variant", bare, "what to serve")
	listen := fs.String("listen", "127.0.0.1:0", "where to listen")
	told := serving{}
	fs.StringVar(&told.cert, "cert", "", "a file with certificate and key, for TLS")
	fs.StringVar(&told.ca, "ca", "", "a file with the authority of callers, which are then asked for certificates")
	fs.StringVar(&told.auth, "auth", "", "how callers are authenticated, by the variants that do")
	fs.StringVar(&told.registry, "registry", "", "a directory for the registry")
	fs.StringVar(&told.tcp, "tcp", "", "where the TCP service listens, of the variants that have one")
	fs.StringVar(&told.plain, "plain", "", "where the same service listens without easyops")
	profile := fs.String("profile", "", "a file for a CPU profile")
	_ = fs.Parse(args) // it exits

	v, ok := variants[*name]
	if !ok {
		return fmt.Errorf("there is no variant %q", *name)
	}
	var err error
	if told.tls, err = readCert(told.cert); err != nil {
		return err
	}
	lis, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	stop, err := startProfile(*profile)
	if err != nil {
		return err
	}
	defer stop()
	ended := make(chan error, 2)
	go func() { ended <- v(lis, told) }()
	go func() { ended <- answer(os.Stdin, os.Stdout, lis.Addr().String()) }()
	return <-ended
}

func answer(in io.Reader, out io.Writer, addr string) error {
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	if err := answers.Encode(addr); err != nil {
		return err
	}
	for {
		var request struct{}
		if err := requests.Decode(&request); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		u, err := ownUsage()
		if err != nil {
			return err
		}
		if err := answers.Encode(u); err != nil {
			return err
		}
	}
}

func readCert(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}, nil
}

func startProfile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, nil
}

// ownUsage is the usage of this process.
func ownUsage() (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, err
	}
	u := usage{CPU: cpuOf(&r), RSS: peakOf(&r)}
	// The second number is that of the pages in memory (proc(5)).
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(statm); len(fields) > 1 {
			if pages, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
				u.RSS = pages * int64(os.Getpagesize())
			}
		}
	}
	return u, nil
}

func cpuOf(r *syscall.Rusage) time.Duration {
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// peakOf is the most memory that a process had, in bytes. Linux counts KiB.
func peakOf(r *syscall.Rusage) int64 {
	most := int64(r.Maxrss) //nolint:unconvert // it has 32 bits on some systems
	if runtime.GOOS == "linux" {
		most <<= 10
	}
	return most
}
