package export

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/registry"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	timeout = routes.DefaultConnectTimeout
	most    = routes.DefaultMaxMessage
)

func everyone() auth.Access { return auth.Access{Allow: auth.Everyone} }

// instance is one that is listed.
func instance(id, service, addr string, kinds ...registry.Kind) registry.Instance {
	return registry.Instance{
		ID: id, Service: service, Addr: addr, Kinds: append(kinds, registry.KindStatus), Health: registry.Ready,
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

// shop is a file with a bit of everything.
func shop(dir string) (*routes.File, Instances) {
	f := &routes.File{
		Name: "edge.yaml", Listen: ":8443", Admin: "127.0.0.1:8081",
		TLS: []routes.Certificate{{Line: 2, Cert: dir + "/shop.pem", Key: dir + "/shop.pem.key"}},
		HTTP: []routes.HTTPRoute{
			{Line: 4, Path: "/", Service: "site", Access: everyone(), ConnectTimeout: timeout},
			{Line: 5, Host: "shop.example.com", Path: "/greet/", Service: "greet-page", ConnectTimeout: timeout},
			{Line: 6, Host: "*.example.com", Path: "/", Service: "greet-page", Access: auth.Access{Allow: auth.Users, Groups: []string{"staff"}}, ConnectTimeout: 2 * time.Second},
			{Line: 7, Host: "shop.example.com", Path: "/it's \"a\" $b/", Service: "site", Access: everyone(), ConnectTimeout: timeout},
		},
		GRPC: []routes.GRPCRoute{
			{Line: 9, Service: "*", MaxMessage: most, ConnectTimeout: timeout},
			{Line: 10, Service: "echo.v1.EchoService", MaxMessage: 8 << 20, ConnectTimeout: timeout},
			{Line: 11, Host: "shop.example.com", Service: "shop.v1.*", MaxMessage: most, ConnectTimeout: timeout},
			{Line: 12, Service: "gone.v1.GoneService", MaxMessage: most, ConnectTimeout: timeout},
		},
		TCP: []routes.TCPRoute{
			{Line: 14, Listen: ":5432", Service: "db", ProxyProtocol: 2, ConnectTimeout: 1500 * time.Millisecond, MaxConnections: 1000, MaxPerClient: 20, IdleTimeout: 2 * time.Hour, AcceptProxy: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
			{Line: 15, Listen: "127.0.0.1:5433", Service: "nobody", ConnectTimeout: timeout},
		},
	}
	status := instance("d1", "db", "10.0.0.9:5000", registry.KindTCP)
	status.StatusAddr = "10.0.0.9:4100"
	own, other := instance("s1", "site", "10.0.0.3:4100", registry.KindHTTP), instance("s2", "site", "[fd00::3]:4100", registry.KindHTTP)
	own.Tags, other.Tags = map[string]string{"zone": "a"}, map[string]string{"zone": "b"}
	stopping := instance("p1", "shop.v1.ShopService", "10.0.0.5:4100", registry.KindGRPC)
	stopping.Health = registry.Stopping
	return f, Instances{
		{"greet-page", registry.KindHTTP}:           {instance("g1", "greet-page", "10.0.0.2:4100", registry.KindHTTP)},
		{"site", registry.KindHTTP}:                 {own, other},
		{"echo.v1.EchoService", registry.KindGRPC}:  {instance("e1", "echo.v1.EchoService", "10.0.0.1:4100", registry.KindGRPC), instance("e2", "echo.v1.EchoService", "echo.internal.example:4100", registry.KindGRPC)},
		{"shop.v1.ShopService", registry.KindGRPC}:  {stopping},
		{"other.v1.MoreService", registry.KindGRPC}: {instance("m1", "other.v1.MoreService", "127.0.0.1:4100", registry.KindGRPC)},
		{"db", registry.KindTCP}:                    {status},
	}
}

// small is the least that makes sense, on one machine.
func small(string) (*routes.File, Instances) {
	return &routes.File{
		Name: "small.yaml", Listen: "127.0.0.1:8080",
		HTTP: []routes.HTTPRoute{{Line: 2, Path: "/", Service: "site", Access: everyone(), ConnectTimeout: timeout}},
	}, Instances{{"site", registry.KindHTTP}: {instance("s1", "site", "127.0.0.1:4100", registry.KindHTTP)}}
}

var cases = []struct {
	name    string
	options Options
	make    func(dir string) (*routes.File, Instances)
}{
	{"shop", Options{Registry: "etcd://h1:2379", User: "www-data", Zone: "a"}, shop},
	{"shop-tls", Options{Registry: "etcd://h1:2379", CA: "ca.pem", Include: "own.conf"}, shop},
	{"small", Options{Registry: "local"}, small},
}

func TestGolden(t *testing.T) {
	for _, c := range cases {
		for _, p := range []Proxy{HAProxy, Nginx} {
			t.Run(c.name+"/"+string(p), func(t *testing.T) {
				dir := t.TempDir()
				f, have := c.make(dir)
				o := c.options
				o.Proxy = p
				files(t, dir, &o)
				got, err := o.Render(f, have)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, filepath.Join("testdata", c.name+"."+string(p)), bytes.ReplaceAll(got, []byte(dir), []byte("/etc/easyops")))
			})
		}
	}
}

// files makes the files that options and routes name.
func files(t *testing.T, dir string, o *Options) {
	t.Helper()
	certificate(t, dir+"/shop.pem", "shop.example.com", "*.example.com")
	if o.CA != "" {
		o.CA = filepath.Join(dir, o.CA)
		certificate(t, o.CA, "ca")
	}
	if o.Include != "" {
		o.Include = filepath.Join(dir, o.Include)
		write(t, o.Include, "keepalive_timeout 60s;\n")
	}
}

// certificate writes one, and its key beside it.
func certificate(t *testing.T, path string, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: names, IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, path+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); d != "" {
		t.Errorf("%s differs (-update writes it anew):\n%s", path, d)
	}
}
