package easyops

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// quick is a StringValue with the methods that protoc-gen-go-vtproto writes. It counts
// how often they are called.
type quick struct {
	*wrapperspb.StringValue
	marshaled, unmarshaled *int
	wrong                  int   // bytes that the size is off
	backwards              bool  // it writes from the end as generated code does, room or not
	fails                  error // of marshalling
}

func newQuick(text string) *quick {
	return &quick{StringValue: wrapperspb.String(text), marshaled: new(int), unmarshaled: new(int)}
}

func (q *quick) SizeVT() int {
	if q.GetValue() == "" {
		return 0
	}
	return 1 + protowire.SizeBytes(len(q.GetValue())) + q.wrong
}

func (q *quick) MarshalToSizedBufferVT(b []byte) (int, error) {
	*q.marshaled++
	if q.fails != nil || q.GetValue() == "" {
		return 0, q.fails
	}
	size := 1 + protowire.SizeBytes(len(q.GetValue()))
	if q.backwards {
		copy(b[len(b)-size:], q.GetValue())
	}
	if at := len(b) - len(q.GetValue()); at > 0 {
		copy(b[at:], q.GetValue())
		protowire.AppendVarint(append(b[:max(0, len(b)-size)], 1<<3|byte(protowire.BytesType)), uint64(len(q.GetValue())))
	}
	return size, nil
}

func (q *quick) UnmarshalVT(b []byte) error {
	*q.unmarshaled++
	for len(b) > 0 {
		_, _, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		text, m := protowire.ConsumeString(b[n:])
		if m < 0 {
			return protowire.ParseError(m)
		}
		if q.Value != "" {
			text = q.Value + text // so that it shows what was there before
		}
		q.Value = text
		b = b[n+m:]
	}
	return nil
}

// deep is a message that can hold itself, with the same methods.
type deep struct {
	*structpb.Value
	unmarshaled int
}

func (d *deep) UnmarshalVT([]byte) error { d.unmarshaled++; return nil }

// Messages with methods of their own are encoded and decoded by them, to the same
// bytes as by protobuf, short ones and those whose buffers are used again.
func TestFastCodec(t *testing.T) {
	c := newFastCodec()
	for _, size := range []int{0, 1, 100, 1 << 10, 1<<10 + 1, 100 << 10} {
		q := newQuick(strings.Repeat("é", size/2) + strings.Repeat("e", size%2))
		for range 3 {
			data, err := c.Marshal(q)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := proto.Marshal(q.StringValue)
			if got := data.Materialize(); !bytes.Equal(got, want) {
				t.Fatalf("%d bytes: got %.40x, want %.40x", size, got, want)
			}
			back := newQuick("what was there before")
			if err := c.Unmarshal(data, back); err != nil || back.GetValue() != q.GetValue() {
				t.Errorf("%d bytes: got %.40q, %v", size, back.GetValue(), err)
			}
			wantEqual(t, "calls of UnmarshalVT", *back.unmarshaled, 1)
			data.Free()
		}
		wantEqual(t, "calls of MarshalToSizedBufferVT", *q.marshaled, 3)
	}
	wantEqual(t, "name", c.Name(), "proto")
}

// What has no such methods, is no message, or may be too deep goes grpc-go's way.
func TestFastCodecOfOthers(t *testing.T) {
	c := newFastCodec()
	req := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("x")}}
	data, err := c.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	back := &testpb.SimpleRequest{}
	if err := c.Unmarshal(data, back); err != nil || !proto.Equal(req, back) {
		t.Errorf("got %v, %v", back, err)
	}
	if _, err := c.Marshal("text"); err == nil {
		t.Error("a string is marshalled")
	}
	if err := c.Unmarshal(nil, new(string)); err == nil {
		t.Error("a string is unmarshalled")
	}
	nested := &deep{Value: &structpb.Value{}}
	for range 2 {
		_ = c.Unmarshal(nil, nested)
	}
	if nested.unmarshaled != 0 {
		t.Error("a message without a bound on its depth is decoded by its own method")
	}
}

// What is wrong with a message is an error, and no bytes of another message are
// sent for it.
func TestFastCodecFaults(t *testing.T) {
	c := newFastCodec()
	for _, size := range []int{10, 10 << 10} {
		q := newQuick(strings.Repeat("x", size))
		for _, q.wrong = range []int{-1, 1} {
			for _, q.backwards = range []bool{false, true} {
				if data, err := c.Marshal(q); err == nil || !strings.Contains(err.Error(), "it was changed while it was sent") {
					t.Errorf("%d bytes, size off by %d: sent %d bytes, %v", size, q.wrong, data.Len(), err)
				}
			}
		}
		q.wrong, q.fails = 0, errors.New("no")
		if _, err := c.Marshal(q); !errors.Is(err, q.fails) {
			t.Errorf("got %v", err)
		}
	}
	if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer("\x0a\xff")}, newQuick("")); err == nil {
		t.Error("half a message is taken")
	}
}

// The codec is that of servers and of clients, which share no connections with
// those that have none.
func TestWithFastCodec(t *testing.T) {
	for _, w := range ways {
		r := newRig(t, w, &funcs{}, WithFastCodec())
		if _, err := r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil {
			t.Errorf("%v: %v", w, err)
		}
		if r.intercepts() {
			t.Error("streams pay for an interceptor")
		}
	}
	usual, fast := &config{}, &config{}
	WithFastCodec().applyDial(fast)
	if *sharedKey(usual, "a.B") == *sharedKey(fast, "a.B") {
		t.Error("clients share connections whatever their codec")
	}
}

// BenchmarkFastCodec measures a message of 100 bytes there and back.
func BenchmarkFastCodec(b *testing.B) {
	fast := newFastCodec()
	for name, m := range map[string]proto.Message{"own": newQuick(strings.Repeat("x", 100)), "usual": wrapperspb.String(strings.Repeat("x", 100))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				data, err := fast.Marshal(m)
				if err == nil {
					err = fast.Unmarshal(data, m)
				}
				if err != nil {
					b.Fatal(err)
				}
				data.Free()
			}
		})
	}
}
