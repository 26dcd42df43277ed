package main

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	conformancev1 "github.com/go-easyops/easyops/test/conformance/gen"
)

// The suite's headers hold binary values in base64, with padding or without;
// grpc-go's hold them as they are.

func metadataOf(headers []*conformancev1.Header) metadata.MD {
	md := metadata.MD{}
	for _, h := range headers {
		for _, v := range h.GetValue() {
			if isBinary(h.GetName()) {
				v = decode(v)
			}
			md.Append(h.GetName(), v)
		}
	}
	return md
}

func headersOf(md metadata.MD) (headers []*conformancev1.Header) {
	for name, values := range md {
		if isBinary(name) {
			encoded := make([]string, len(values))
			for i, v := range values {
				encoded[i] = base64.RawStdEncoding.EncodeToString([]byte(v))
			}
			values = encoded
		}
		headers = append(headers, &conformancev1.Header{Name: name, Value: values})
	}
	return headers
}

func isBinary(name string) bool { return strings.HasSuffix(strings.ToLower(name), "-bin") }

func decode(v string) string {
	if b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(v, "=")); err == nil {
		return string(b)
	}
	return v
}

// requestInfo is what the call looks like from here.
func requestInfo(ctx context.Context, requests []*anypb.Any) *conformancev1.ConformancePayload_RequestInfo {
	md, _ := metadata.FromIncomingContext(ctx)
	info := &conformancev1.ConformancePayload_RequestInfo{RequestHeaders: headersOf(md), Requests: requests}
	if deadline, ok := ctx.Deadline(); ok {
		info.TimeoutMs = proto.Int64(max(time.Until(deadline).Milliseconds(), 0))
	}
	return info
}

// statusOf is the error with further details; nil stays nil.
func statusOf(e *conformancev1.Error, details []*anypb.Any) error {
	if e == nil {
		return nil
	}
	return status.ErrorProto(&statuspb.Status{
		Code: int32(e.GetCode()), Message: e.GetMessage(), Details: append(e.GetDetails(), details...),
	})
}
