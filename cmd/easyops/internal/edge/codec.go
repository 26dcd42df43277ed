package edge

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // what is compressed by it passes
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// frame is a message as it came, of whatever format. Nobody looks into it.
type frame struct{ data mem.BufferSlice }

// drop lets go of the bytes of a message that was not sent.
func (f *frame) drop() {
	f.data.Free()
	f.data = nil
}

// rawCodec is the codec of the edge's server, and of its connections to services: it
// passes frames through without a copy, and what is of the server itself, such as
// health, by the codec of protobuf.
type rawCodec struct{ own encoding.CodecV2 }

func newRawCodec() rawCodec { return rawCodec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements [encoding.CodecV2]. Of a frame it takes the bytes away: it is
// sent once.
func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return c.own.Marshal(v)
	}
	data := f.data
	f.data = nil
	return data, nil
}

// Unmarshal implements [encoding.CodecV2].
func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return c.own.Unmarshal(data, v)
	}
	if f.data != nil {
		return fmt.Errorf("a frame of %d bytes was not sent", f.data.Len())
	}
	data.Ref()
	f.data = data
	return nil
}

// Name implements [encoding.CodecV2].
func (rawCodec) Name() string { return proto.Name }
