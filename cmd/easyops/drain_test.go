package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/registry"
)

func TestDrain(t *testing.T) {
	f := newFleet(t)
	a, b := f.add(), f.add()
	where := "local registry in " + f.url[len("local:"):]
	ids := func() string {
		return plain(strings.Join(idsOf(f.waitFor(echoService, func([]registry.Instance) bool { return true })), " "))
	}
	both := ids()
	for _, arg := range []string{a.ID, a.ID[:8], a.Addr} {
		expect(t, 0, a.ID+" at "+a.Addr+" is out of the "+where+" and goes on serving\nto put it back, with the same flags: easyops undrain "+a.Addr+"\n", "drain", arg)
		if got := ids(); got != b.ID {
			t.Errorf("%s are listed", got)
		}
		if text := plain(mustCall(t, "status", a.Addr)); !strings.Contains(text, a.ID+" "+a.Addr+" taken out READY 1 to look at - AGE") {
			t.Error(text)
		}
		expect(t, 1, "easyops: no instance "+a.ID+" is listed in the "+where+": easyops ls lists those there are; name one that is not listed by its address, host:port\n", "undrain", a.ID)
		expect(t, 0, a.ID+" at "+a.Addr+" is in the "+where+" again\n", "undrain", a.Addr)
		if got := ids(); got != both {
			t.Errorf("%s are listed", got)
		}
	}
	// What holds already is no mistake.
	expect(t, 0, a.ID+" at "+a.Addr+" is in the "+where+" again\n", "undrain", a.ID)

	code, _, stderr := call("drain", echoService)
	if code != 2 || !strings.Contains(stderr, "is a service: name one of its instances") {
		t.Errorf("code %d: %s", code, stderr)
	}
	if code, _, stderr := call("drain", "nobody"); code != 1 || !strings.Contains(stderr, "no instance nobody is listed") {
		t.Errorf("code %d: %s", code, stderr)
	}
	expect(t, 2, "easyops: drain: name one instance, as in: easyops drain k3v5q7\n", "drain")
}

func TestDrainOfWhatMayBeTwo(t *testing.T) {
	f := newFleet(t)
	f.list(entry("abc1", echoService), entry("abc1", greeterService))
	f.list(entry("abc2", echoService))
	f.list(entry("abc", echoService))
	expect(t, 2, "easyops: 3 instances begin with ab: abc, abc1, abc2\n", "drain", "ab")
	if code, _, stderr := call("drain", "abc"); code != 1 || !strings.Contains(stderr, "abc at 127.0.0.1:1: ") { // a whole ID is one
		t.Errorf("code %d: %s", code, stderr)
	}
}

func TestDrainIsForOperators(t *testing.T) {
	f := newFleet(t)
	ca := testAuthority(t, "--id echo --service "+echoService+" --service "+greeterService, "--id ops", "--id billing")
	a := f.addSecure(serverFiles(ca, "echo"), easyops.WithAuth("mtls"), easyops.WithOperators("service:ops", "group:sre"))
	sre, staff := tempFile(t, easyopstest.UserToken("alice", "sre")), tempFile(t, easyopstest.UserToken("bob", "staff"))
	listed := func() []registry.Instance {
		return slices.Concat(f.waitFor(echoService, func([]registry.Instance) bool { return true }), f.waitFor(greeterService, func([]registry.Instance) bool { return true }))
	}
	for _, test := range []struct {
		flags []string
		says  string
	}{
		{filesOf(ca, ""), "--token-file names the token of an operator"},
		{filesOf(ca, "billing"), "it does not take this from whom --cert is of"},
		{append(filesOf(ca, ""), "--token-file", staff), "it does not take this from whom --token-file is of"},
	} {
		for _, command := range []string{"drain", "undrain"} {
			code, stdout, stderr := call(append([]string{command, a.ID}, test.flags...)...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, a.ID+" at "+a.Addr+": ") || !strings.Contains(stderr, test.says) {
				t.Errorf("code %d, %s, %s", code, stdout, stderr)
			}
		}
		if list := listed(); len(list) != 2 {
			t.Fatalf("listed are %v", list)
		}
	}
	for _, flags := range [][]string{filesOf(ca, "ops"), append(filesOf(ca, ""), "--token-file", sre)} {
		text := mustCall(t, append([]string{"drain", a.ID}, flags...)...)
		hint := "easyops undrain --service " + echoService + " " + a.Addr + "\n"
		if list := listed(); len(list) != 0 || !strings.HasSuffix(text, hint) {
			t.Fatalf("listed are %v: %s", list, text)
		}
		mustCall(t, append([]string{"undrain", "--service", echoService, a.Addr}, flags...)...)
		if list := listed(); len(list) != 2 {
			t.Fatalf("listed are %v", list)
		}
	}
}

// What somebody lists by the address of a server neither leads elsewhere nor
// keeps operators from the server.
func TestStrangersEntriesOfAnAddress(t *testing.T) {
	f := newFleet(t)
	a := f.addSecure(easyops.WithOperators("user:alice"))
	alice := tempFile(t, easyopstest.UserToken("alice"))
	p := plant(t, listen(t, "127.0.0.1:0"))
	one, other := entry("1", "aaa"), entry("2", "zzz") // before and after those of the server
	one.Addr, one.StatusAddr = a.Addr, p.addr
	other.Addr, other.StatusAddr = p.addr, a.Addr
	f.list(one)
	f.list(other)
	text := mustCall(t, "status", "--token-file", alice, a.Addr)
	if !strings.Contains(plain(text), a.ID+" "+a.Addr+" READY READY none - AGE ") {
		t.Error(text)
	}
	where := "local registry in " + f.url[len("local:"):]
	expect(t, 0, a.ID+" at "+a.Addr+" is out of the "+where+" and goes on serving\nto put it back, with the same flags: easyops undrain "+a.Addr+"\n", "drain", "--token-file", alice, a.Addr)
	expect(t, 0, a.ID+" at "+a.Addr+" is in the "+where+" again\n", "undrain", "--token-file", alice, a.Addr)
	if p.heard.Load() != 0 {
		t.Error("the stranger was asked")
	}
	// The control: it hears those who name it.
	if code, _, _ := call("drain", "--token-file", alice, p.addr); code != 1 || p.token.Load() != 1 {
		t.Errorf("code %d, %d tokens", code, p.token.Load())
	}
}

// A server whose status API is at an address of its own is asked there by those
// who name that, and others are told of it.
func TestStatusAPIAtAnotherAddress(t *testing.T) {
	f := newFleet(t)
	a := f.addSecure(easyops.WithOperators("user:alice"), easyops.WithStatusAddr("127.0.0.1:0"))
	alice := tempFile(t, easyopstest.UserToken("alice"))
	hint := ": the registry has its status API at " + a.StatusAddr + ": if that is right, name it so\n"
	for _, command := range []string{"status", "undrain", "drain"} { // while it is listed
		if code, _, stderr := call(command, "--token-file", alice, a.Addr); code != 1 || !strings.HasSuffix(stderr, hint) {
			t.Errorf("%s: code %d, %s", command, code, stderr)
		}
		mustCall(t, command, "--token-file", alice, a.StatusAddr)
	}
	// No hint where it is there, nor to another host.
	if code, _, stderr := call("drain", a.StatusAddr); code != 1 || strings.Contains(stderr, "the registry has") {
		t.Errorf("code %d, %s", code, stderr)
	}
	far := entry("far", echoService)
	far.Addr, far.StatusAddr = unused(t), "evil.example:1"
	f.list(far)
	if code, _, stderr := call("drain", far.Addr); code != 1 || strings.Contains(stderr, "evil") {
		t.Errorf("code %d, %s", code, stderr)
	}
}
