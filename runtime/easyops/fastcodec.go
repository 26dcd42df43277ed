package easyops

import (
	"fmt"
	"reflect"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// WithFastCodec has messages encoded and decoded by methods of their own where they have
// them, as those do for which protoc-gen-go-vtproto was run with its features marshal,
// unmarshal and size: MarshalToSizedBufferVT, UnmarshalVT and SizeVT. Others go the usual
// way, and on the wire there is no difference. It takes half of what protobuf costs a
// short message, and leaves all else that a call costs.
//
// It is an option because such methods check less: they take and send strings that are
// not UTF-8, so a handler that relies on that has to check. Messages that can hold
// themselves go the usual way when they are received, as only that one bounds how deep.
//
// All calls are taken for such of protobuf: codecs for other content-subtypes that the
// program has registered are not used. So calls with another content-subtype, such as by
// grpc.CallContentSubtype, must not be made by such a client, nor to such a server: what
// they send would be protobuf under another name, or be read as that. A codec that
// [WithGRPC] or [DialGRPC] brings wins.
func WithFastCodec() Option {
	return option(func(c *config) { c.fastCodec = true })
}

// fastCodec is grpc-go's codec of protobuf but for messages that have methods of their own.
type fastCodec struct {
	usual   encoding.CodecV2
	bounded *sync.Map // of reflect.Type to bool: whether such messages end at some depth
}

func newFastCodec() fastCodec { return fastCodec{encoding.GetCodecV2(proto.Name), &sync.Map{}} }

// fastMarshaler and fastUnmarshaler are what protoc-gen-go-vtproto adds.
type (
	fastMarshaler interface {
		SizeVT() int
		MarshalToSizedBufferVT(b []byte) (int, error) // from the end of b
	}
	fastUnmarshaler interface {
		UnmarshalVT(b []byte) error // copies what it keeps, adds to what there is
		Reset()
		ProtoReflect() protoreflect.Message
	}
)

// Name implements [encoding.CodecV2].
func (c fastCodec) Name() string { return c.usual.Name() }

// Marshal implements [encoding.CodecV2].
func (c fastCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(fastMarshaler)
	if !ok {
		return c.usual.Marshal(v)
	}
	size := m.SizeVT()
	if mem.IsBelowBufferPoolingThreshold(size) {
		b := make([]byte, size)
		if err := marshalInto(b, m); err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	pool := mem.DefaultBufferPool()
	b := pool.Get(size)
	if err := marshalInto(*b, m); err != nil {
		pool.Put(b)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(b, pool)}, nil
}

// marshalInto fills b, which may hold something of another message before. Where a message
// has grown there is no room, and its method panics, which nothing else would recover: it is
// called after the handler, or by who makes a call.
func marshalInto(b []byte, m fastMarshaler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("proto: %T does not fit into its %d bytes (%v): it was changed while it was sent", m, len(b), p)
		}
	}()
	switch n, err := m.MarshalToSizedBufferVT(b); {
	case err != nil:
		return fmt.Errorf("proto: %w", err)
	case n != len(b):
		return fmt.Errorf("proto: %T has %d bytes in place of %d: it was changed while it was sent", m, n, len(b))
	}
	return nil
}

// Unmarshal implements [encoding.CodecV2].
func (c fastCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(fastUnmarshaler)
	if !ok || !c.isBounded(m) {
		return c.usual.Unmarshal(data, v)
	}
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	m.Reset()
	if err := m.UnmarshalVT(b.ReadOnlyData()); err != nil {
		return fmt.Errorf("proto: %w", err)
	}
	return nil
}

// isBounded tells whether messages of a type cannot hold themselves.
func (c fastCodec) isBounded(m fastUnmarshaler) bool {
	t := reflect.TypeOf(m)
	if known, ok := c.bounded.Load(t); ok {
		return known.(bool)
	}
	bounded := !holdsItself(m.ProtoReflect().Descriptor(), map[protoreflect.FullName]bool{})
	c.bounded.Store(t, bounded)
	return bounded
}

// holdsItself tells whether a message, or one in it, can be inside of itself. Of those
// seen, each once, it is known whether they are still open, around this one.
func holdsItself(d protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if open, ok := seen[d.FullName()]; ok {
		return open
	}
	seen[d.FullName()] = true
	for i := range d.Fields().Len() {
		if of := d.Fields().Get(i).Message(); of != nil && holdsItself(of, seen) {
			return true
		}
	}
	seen[d.FullName()] = false
	return false
}
