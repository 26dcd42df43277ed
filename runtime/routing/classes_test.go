package routing

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/go-easyops/easyops/runtime/registry"
)

type userKey struct{}

func as(ctx context.Context, user string) context.Context {
	return context.WithValue(ctx, userKey{}, user)
}

func userOf(ctx context.Context) string {
	user, _ := ctx.Value(userKey{}).(string)
	return user
}

// owned and with change an entry.
func owned(i registry.Instance, owner string) registry.Instance {
	i.Owner = owner
	return i
}

func with(i registry.Instance, tags ...string) registry.Instance {
	i.Tags = map[string]string{}
	for n := 0; n < len(tags); n += 2 {
		i.Tags[tags[n]] = tags[n+1]
	}
	return i
}

func tags(pairs ...string) map[string]string { return with(registry.Instance{}, pairs...).Tags }

// always calls several times and wants all answered by one instance.
func always(ctx context.Context, t *testing.T, c *Conn, id string) {
	t.Helper()
	for range 30 {
		if got, err := who(ctx, c); err != nil || got != id {
			t.Fatalf("%q answered (%v), want %q", got, err, id)
		}
	}
}

// soon calls until the instance answers.
func soon(ctx context.Context, t *testing.T, c *Conn, id string) {
	t.Helper()
	var got string
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got, err = who(ctx, c); err == nil && got == id {
			return
		}
	}
	t.Fatalf("%q answers (%v), want %q", got, err, id)
}

// TestRoutes: whose calls go where.
func TestRoutes(t *testing.T) {
	none, canary, hers, both := startServer(t, "plain"), startServer(t, "canary"), startServer(t, "hers"), startServer(t, "both")
	m := newMemory(
		with(none.instance(registry.Ready), "zone", "north"),
		with(canary.instance(registry.Ready), "track", "canary"),
		owned(hers.instance(registry.Ready), "alice"),
		owned(with(both.instance(registry.Ready), "track", "canary"), "carol"),
	)
	c := dial(t, Config{Registry: m, Personal: true, User: userOf})
	ctx := t.Context()
	onCanary := WithTags(ctx, tags("track", "canary"))
	for name, tt := range map[string]struct {
		ctx  context.Context
		want string
	}{
		"nobody":                           {ctx, "plain"},
		"bob":                              {as(ctx, "bob"), "plain"},
		"alice":                            {as(ctx, "alice"), "hers"},
		"alice, with tags":                 {as(onCanary, "alice"), "hers"},
		"bob, with tags":                   {as(onCanary, "bob"), "canary"},
		"carol":                            {as(ctx, "carol"), "both"},
		"zone is no tag of a call":         {WithTags(ctx, tags("track", "canary", "zone", "x")), "canary"},
		"zone alone":                       {WithTags(ctx, tags("zone", "x")), "plain"},
		"no tags after all":                {WithTags(onCanary, nil), "plain"},
		"a part of the tags, but may fall": {WithTags(ctx, tags("track", "canary", "b", "c"), FallbackToPlain), "plain"},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); always(tt.ctx, t, c, tt.want) })
	}
}

// TestOwnersAreIgnored: without Personal an instance with an owner gets no call.
func TestOwnersAreIgnored(t *testing.T) {
	none, hers := startServer(t, "plain"), startServer(t, "hers")
	c := dial(t, Config{Registry: newMemory(none.instance(registry.Ready), owned(hers.instance(registry.Ready), "alice")), User: userOf})
	always(as(t.Context(), "alice"), t, c, "plain")
	always(t.Context(), t, c, "plain")
	alone := dial(t, Config{Registry: newMemory(owned(hers.instance(registry.Ready), "alice")), MaxWait: 200 * time.Millisecond})
	_, err := who(t.Context(), alone)
	wantStatus(t, err, codes.Unavailable, "lists 1, 1 READY, 1 for calls of their owner only (-easyops.personal)")
	if n := hers.calls.Load(); n != 0 {
		t.Errorf("it got %d calls", n)
	}
}

// TestOneAddressTwice: where a plain instance has the address of one that had tags
// or an owner, and is still listed, calls for these do not wait for it.
func TestOneAddressTwice(t *testing.T) {
	now := startServer(t, "now")
	tagged, hers, fresh := now.instance(registry.Ready), now.instance(registry.Ready), now.instance(registry.Ready)
	tagged.ID, tagged.Tags = "tagged", tags("track", "canary")
	hers.ID, hers.Owner = "hers", "alice"
	fresh.Started = time.Now()
	c := dial(t, Config{Registry: newMemory(tagged, hers, fresh), Personal: true, User: userOf, MaxWait: 5 * time.Second})
	always(as(t.Context(), "alice"), t, c, "now")
	always(WithTags(t.Context(), tags("track", "canary"), FallbackToPlain), t, c, "now")
}

// TestOwnerComesAndGoes: her calls are hers while her instance can be reached.
func TestOwnerComesAndGoes(t *testing.T) {
	none, hers := startServer(t, "plain"), startServer(t, "hers")
	listed := owned(hers.instance(registry.Ready), "alice")
	m := newMemory(none.instance(registry.Ready))
	c := dial(t, Config{Registry: m, Personal: true, User: userOf})
	alice := as(t.Context(), "alice")
	always(alice, t, c, "plain")
	m.say(nil, none.instance(registry.Ready), listed)
	soon(alice, t, c, "hers")
	always(alice, t, c, "hers")
	m.say(nil, none.instance(registry.Ready), owned(hers.instance(registry.NotReady), "alice"))
	always(alice, t, c, "hers")
	m.say(errors.New("down"))
	always(alice, t, c, "hers")
	m.say(nil)
	always(alice, t, c, "hers")
	m.say(nil, none.instance(registry.Ready))
	soon(alice, t, c, "plain")
	m.say(nil, none.instance(registry.Ready), listed)
	soon(alice, t, c, "hers")
	hers.stop() // and it is listed on
	soon(alice, t, c, "plain")
	always(alice, t, c, "plain")
	startServerAt(t, "hers again", hers.addr, 0)
	soon(alice, t, c, "hers again")
}

// TestUnfitClasses: calls do not wait for what is not fit and was never known.
func TestUnfitClasses(t *testing.T) {
	none, hers := startServer(t, "plain"), startServer(t, "hers")
	starting := owned(hers.instance(registry.Starting), "alice")
	canary := with(hers.instance(registry.NotReady), "v", "x")
	m := newMemory(none.instance(registry.Ready), starting, canary)
	c := dial(t, Config{Registry: m, Personal: true, User: userOf})
	alice := as(WithTags(t.Context(), tags("v", "x"), FallbackToPlain), "alice")
	always(alice, t, c, "plain")
	m.say(nil, starting, canary)
	always(alice, t, c, "plain")
	if n := hers.calls.Load(); n != 0 {
		t.Errorf("it got %d calls", n)
	}
}

// TestTagsNotListed: the call waits, says what there is, and goes on when it is.
func TestTagsNotListed(t *testing.T) {
	none, canary := startServer(t, "plain"), startServer(t, "canary")
	listed := with(canary.instance(registry.Ready), "track", "canary", "arch", "arm")
	m := newMemory(none.instance(registry.Ready))
	c := dialTo(t, m, 300*time.Millisecond)
	want(t, c, "plain")
	ctx := WithTags(t.Context(), tags("track", "canary"))
	_, err := who(ctx, c)
	wantStatus(t, err, codes.Unavailable, "with tags track=canary", "no instance has tags", "waited 300ms")
	m.say(nil, none.instance(registry.Ready), listed)
	_, err = who(ctx, c)
	wantStatus(t, err, codes.Unavailable, "with tags track=canary", "there are arch=arm,track=canary")
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = who(short, c)
	wantStatus(t, err, codes.DeadlineExceeded, "with tags track=canary", service)
	_, err = who(ctx, c, grpc.WaitForReady(false))
	wantStatus(t, err, codes.Unavailable, "with tags track=canary")
	if strings.Contains(err.Error(), "waited") {
		t.Errorf("a call that does not wait did: %v", err)
	}

	c = dialTo(t, m, 10*time.Second)
	answers := make(chan string)
	go func() {
		id, err := who(WithTags(t.Context(), tags("track", "new")), c)
		answers <- fmt.Sprint(id, err)
	}()
	want(t, c, "plain")
	m.say(nil, none.instance(registry.Ready), with(canary.instance(registry.Ready), "track", "new"))
	if got := <-answers; got != "canary<nil>" {
		t.Errorf("the call that waited got %s", got)
	}
}

// TestClassIsDown: calls with tags wait for their instances, plain calls go on, and
// the other way round.
func TestClassIsDown(t *testing.T) {
	none, canary := startServer(t, "plain"), startServer(t, "canary")
	c := dialTo(t, newMemory(none.instance(registry.Ready), with(canary.instance(registry.Ready), "track", "canary")), 300*time.Millisecond)
	ctx := WithTags(t.Context(), tags("track", "canary"), FallbackToPlain)
	always(ctx, t, c, "canary")
	always(t.Context(), t, c, "plain")
	canary.stop()
	always(t.Context(), t, c, "plain")
	_, err := who(ctx, c)
	if !strings.Contains(err.Error(), "waited 300ms") { // it had begun
		_, err = who(ctx, c)
	}
	wantStatus(t, err, codes.Unavailable, "with tags track=canary", "refused", "waited 300ms")

	again := startServerAt(t, "canary", canary.addr, 0)
	soon(ctx, t, c, "canary")
	none.stop()
	start := time.Now()
	for err = errors.New("none"); !strings.Contains(err.Error(), "waited 300ms"); {
		start = time.Now()
		if _, err = who(t.Context(), c); err == nil {
			t.Fatal("a plain call was answered by", again.id)
		}
	}
	if d := time.Since(start); d < 300*time.Millisecond || d > 300*time.Millisecond+slack {
		t.Errorf("the plain call waited %v", d)
	}
	always(ctx, t, c, "canary")
}

// TestTargetIsPlain: with a target there are no classes.
func TestTargetIsPlain(t *testing.T) {
	c := dial(t, Config{Target: startServer(t, "a").addr, Personal: true, User: userOf})
	always(as(WithTags(t.Context(), tags("track", "canary")), "alice"), t, c, "a")
}

// TestUndemanded: a class is not connected before it is asked for.
func TestUndemanded(t *testing.T) {
	none, canary := startServer(t, "plain"), startServer(t, "canary")
	c := dialTo(t, newMemory(none.instance(registry.Ready), with(canary.instance(registry.Ready), "track", "canary")), 0)
	want(t, c, "plain")
	if got := c.Instances(); len(got) != 1 {
		t.Errorf("calls go to %v", got)
	}
	always(WithTags(t.Context(), tags("track", "canary")), t, c, "canary")
	if got := c.Instances(); len(got) != 2 {
		t.Errorf("calls go to %v", got)
	}
}

// TestStreamToClass: streams are routed as other calls are.
func TestStreamToClass(t *testing.T) {
	none, canary := startServer(t, "plain"), startServer(t, "canary")
	c := dialTo(t, newMemory(none.instance(registry.Ready), with(canary.instance(registry.Ready), "track", "canary")), 0)
	ctx := WithTags(t.Context(), tags("track", "canary"))
	stream, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+service+"/Stay")
	if err != nil {
		t.Fatal(err)
	}
	echo(t, stream)
	for _, i := range c.Status().Instances {
		if wanted := i.ID == "canary"; (i.InFlight == 1) != wanted {
			t.Errorf("%s has %d streams", i.ID, i.InFlight)
		}
	}
	if err := errors.Join(stream.CloseSend(), stream.SendMsg(&emptypb.Empty{})); err == nil {
		t.Error("it is not closed")
	}
}

func TestClassOf(t *testing.T) {
	for _, tt := range []struct {
		i    registry.Instance
		want string
	}{
		{registry.Instance{}, "plain"},
		{with(registry.Instance{}, "zone", "a"), "plain"},
		{with(registry.Instance{}, "b", "2", "zone", "a", "a", "1"), "tags a=1,b=2"},
		{owned(with(registry.Instance{}, "b", "2"), "alice"), "owner alice"},
	} {
		if got := class(appendClass(nil, &tt.i)).String(); got != tt.want {
			t.Errorf("%+v is of %s, want %s", tt.i, got, tt.want)
		}
	}
	many := map[string]string{}
	for n := range 32 {
		many[fmt.Sprint(n)] = "x"
	}
	for range 10 { // the order of maps differs
		if tagged(maps.Clone(many)) != tagged(many) || tagged(many) == plain {
			t.Error("the class of many tags is not one")
		}
	}
	var none *index
	if none.tags() != "no instance has tags" || none.has(ownedBy("x")) {
		t.Error("no index has something")
	}
}
