package export

import (
	"fmt"
	"strings"
)

// HAProxyServer are the settings of a server line behind the address.
func (p *plan) HAProxyServer(b *backend, s *server) string {
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	secure := p.CA != ""
	if b.GRPC() {
		say("proto h2")
	}
	ca := haproxyWord(p.CAFile())
	switch {
	case secure && b.TCP():
		say("verify required ca-file %s", ca) // of the probe
	case secure:
		say("ssl verify required ca-file %s verifyhost %s sni str(%s)", ca, b.Service, b.Service)
		say("alpn %s", map[bool]string{true: "h2", false: "http/1.1"}[b.GRPC()])
	}
	if s.Probe != "" {
		p.probe(b, s, say)
	}
	switch b.Proxy {
	case 1:
		say("send-proxy")
	case 2:
		say("send-proxy-v2")
	}
	if s.Backup {
		say("backup")
	}
	// An address may be a name that is not known yet, or no more.
	say("init-addr last,libc,none")
	return strings.Join(words, " ")
}

// probe asks a server whether it lives. Whether it is ready, the registry knows.
func (p *plan) probe(b *backend, s *server, say func(string, ...any)) {
	say("check")
	if s.Probe != s.Addr {
		say("addr %s port %s", s.ProbeHost(), s.ProbePort())
	}
	if b.GRPC() {
		say("check-proto h1")
	}
	switch {
	case p.CA == "":
	case b.TCP():
		say("check-ssl")
	default:
		say("check-ssl check-sni %s check-alpn http/1.1", b.Service)
	}
}
