package main

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	conformancev1 "github.com/go-easyops/easyops/test/conformance/gen"
)

// service does what its callers say, and tells them what it saw of their call,
// as service.proto of the suite has it.
type service struct {
	conformancev1.UnimplementedConformanceServiceServer
}

func (*service) Unary(ctx context.Context, req *conformancev1.UnaryRequest) (*conformancev1.UnaryResponse, error) {
	payload, err := respond(ctx, req.GetResponseDefinition(), pack(req))
	if err != nil {
		return nil, err
	}
	return &conformancev1.UnaryResponse{Payload: payload}, nil
}

func (*service) ClientStream(stream grpc.ClientStreamingServer[conformancev1.ClientStreamRequest, conformancev1.ClientStreamResponse]) error {
	var definition *conformancev1.UnaryResponseDefinition
	var requests []*anypb.Any
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if len(requests) == 0 {
			definition = req.GetResponseDefinition()
		}
		requests = append(requests, pack(req)...)
	}
	payload, err := respond(stream.Context(), definition, requests)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&conformancev1.ClientStreamResponse{Payload: payload})
}

func (*service) ServerStream(req *conformancev1.ServerStreamRequest, stream grpc.ServerStreamingServer[conformancev1.ServerStreamResponse]) error {
	s, requests := &script{ctx: stream.Context(), definition: req.GetResponseDefinition()}, pack(req)
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.rest(requests, func(p *conformancev1.ConformancePayload) error {
		return stream.Send(&conformancev1.ServerStreamResponse{Payload: p})
	}); err != nil {
		return err
	}
	return s.end(requests)
}

// BidiStream answers each request as it comes if the first one says so, else
// all of them at the end.
func (*service) BidiStream(stream grpc.BidiStreamingServer[conformancev1.BidiStreamRequest, conformancev1.BidiStreamResponse]) error {
	send := func(p *conformancev1.ConformancePayload) error {
		return stream.Send(&conformancev1.BidiStreamResponse{Payload: p})
	}
	s := &script{ctx: stream.Context()}
	var requests []*anypb.Any // that no response told of
	fullDuplex := false
	for first := true; ; first = false {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if first {
			s.definition, fullDuplex = req.GetResponseDefinition(), req.GetFullDuplex()
			if err := s.begin(); err != nil {
				return err
			}
		}
		requests = append(requests, pack(req)...)
		if !fullDuplex {
			continue
		}
		if s.done() {
			break
		}
		if err := s.next(requests, send); err != nil {
			return err
		}
		requests = nil
	}
	if err := s.rest(requests, send); err != nil {
		return err
	}
	return s.end(requests)
}

// respond gives the one response of a call, or its error.
func respond(ctx context.Context, d *conformancev1.UnaryResponseDefinition, requests []*anypb.Any) (*conformancev1.ConformancePayload, error) {
	if err := grpc.SetHeader(ctx, metadataOf(d.GetResponseHeaders())); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, metadataOf(d.GetResponseTrailers())); err != nil {
		return nil, err
	}
	if err := pause(ctx, d.GetResponseDelayMs()); err != nil {
		return nil, err
	}
	seen := requestInfo(ctx, requests)
	if e := d.GetError(); e != nil {
		return nil, statusOf(e, pack(seen))
	}
	return &conformancev1.ConformancePayload{Data: d.GetResponseData(), RequestInfo: seen}, nil
}

// script is what a stream is to respond with, and how far it is.
type script struct {
	ctx        context.Context // of the one stream that it is for
	definition *conformancev1.StreamResponseDefinition
	sent       int
}

// begin sends the headers, which clients may wait for before they send more.
func (s *script) begin() error {
	if s.definition == nil {
		return nil
	}
	if err := grpc.SetTrailer(s.ctx, metadataOf(s.definition.GetResponseTrailers())); err != nil {
		return err
	}
	return grpc.SendHeader(s.ctx, metadataOf(s.definition.GetResponseHeaders()))
}

func (s *script) done() bool { return s.sent == len(s.definition.GetResponseData()) }

// next sends a response that tells of the requests, the first one of all of
// the call.
func (s *script) next(requests []*anypb.Any, send func(*conformancev1.ConformancePayload) error) error {
	if err := pause(s.ctx, s.definition.GetResponseDelayMs()); err != nil {
		return err
	}
	payload := &conformancev1.ConformancePayload{Data: s.definition.GetResponseData()[s.sent]}
	if s.sent == 0 {
		payload.RequestInfo = requestInfo(s.ctx, requests)
	} else if len(requests) > 0 {
		payload.RequestInfo = &conformancev1.ConformancePayload_RequestInfo{Requests: requests}
	}
	s.sent++
	return send(payload)
}

// rest sends the responses that are left.
func (s *script) rest(requests []*anypb.Any, send func(*conformancev1.ConformancePayload) error) error {
	for ; !s.done(); requests = nil {
		if err := s.next(requests, send); err != nil {
			return err
		}
	}
	return nil
}

// end is how the stream ends. An error tells of the call where no response did.
func (s *script) end(requests []*anypb.Any) error {
	if s.sent > 0 {
		return statusOf(s.definition.GetError(), nil)
	}
	return statusOf(s.definition.GetError(), pack(requestInfo(s.ctx, requests)))
}

func pause(ctx context.Context, ms uint32) error {
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pack wraps a message as a list of one. The messages are those of the
// service, which can always be encoded.
func pack(m proto.Message) []*anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		return nil
	}
	return []*anypb.Any{a}
}
