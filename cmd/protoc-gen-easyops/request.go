package main

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// Numbers of the fields of plugin.proto and descriptor.proto by which a request
// is read.
const (
	protoFileField  = 15 // of CodeGeneratorRequest
	servicesField   = 6  // of FileDescriptorProto
	sourceInfoField = 9  // of FileDescriptorProto
	locationField   = 1  // of SourceCodeInfo
	pathField       = 1  // of SourceCodeInfo.Location
)

// readRequest reads a request but for the positions and comments of which there
// is nothing in the output: those of all but services and the top of files that
// have some. They are most of what a compiler sends, and take a third of the time
// and of the memory. Positions are wanted for faults: then the request is to be
// read as a whole.
func readRequest(in []byte) (*pluginpb.CodeGeneratorRequest, error) {
	req := &pluginpb.CodeGeneratorRequest{}
	files, ok := mergeWithout(in, protoFileField, req)
	if !ok {
		return req, proto.Unmarshal(in, req) // which says what is wrong
	}
	for _, b := range files {
		f, ok := readFile(b)
		if !ok {
			req.Reset()
			return req, proto.Unmarshal(in, req)
		}
		req.ProtoFile = append(req.ProtoFile, f)
	}
	return req, nil
}

func readFile(b []byte) (*descriptorpb.FileDescriptorProto, bool) {
	f := &descriptorpb.FileDescriptorProto{}
	infos, ok := mergeWithout(b, sourceInfoField, f)
	if !ok || len(f.GetService()) == 0 {
		return f, ok
	}
	for _, info := range infos {
		if f.SourceCodeInfo == nil {
			f.SourceCodeInfo = &descriptorpb.SourceCodeInfo{}
		}
		if !readLocations(info, f.GetSourceCodeInfo()) {
			return nil, false
		}
	}
	return f, true
}

// readLocations adds the locations that have something in the output.
func readLocations(b []byte, info *descriptorpb.SourceCodeInfo) bool {
	locations, ok := mergeWithout(b, locationField, info)
	for _, loc := range locations {
		if !isShown(loc) {
			continue
		}
		l := &descriptorpb.SourceCodeInfo_Location{}
		if proto.Unmarshal(loc, l) != nil {
			return false
		}
		info.Location = append(info.Location, l)
	}
	return ok
}

// isShown tells it by the beginning of the path, which parsers take packed and
// not packed.
func isShown(location []byte) bool {
	for len(location) > 0 {
		num, kind, n := protowire.ConsumeTag(location)
		if n < 0 {
			return true // to be read is to be refused
		}
		location = location[n:]
		value := location
		if num == pathField && kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(location)
		}
		if first, n := protowire.ConsumeVarint(value); num == pathField && n > 0 {
			return first == servicesField || first == syntaxField || first == editionField
		}
		if n = protowire.ConsumeFieldValue(num, kind, location); n < 0 {
			return true
		}
		location = location[n:]
	}
	return false
}

// mergeWithout reads a message but for a field, whose values it returns. A
// message is what its parts are, one after the other. It tells whether it could
// be read.
func mergeWithout(b []byte, field protowire.Number, into proto.Message) (values [][]byte, ok bool) {
	merge := proto.UnmarshalOptions{Merge: true}
	from := 0
	for at := 0; at < len(b); {
		num, kind, n := protowire.ConsumeField(b[at:])
		if n < 0 {
			return nil, false
		}
		if num == field && kind == protowire.BytesType {
			if merge.Unmarshal(b[from:at], into) != nil {
				return nil, false
			}
			_, _, tag := protowire.ConsumeTag(b[at:])
			value, _ := protowire.ConsumeBytes(b[at+tag:])
			values, from = append(values, value), at+n
		}
		at += n
	}
	return values, merge.Unmarshal(b[from:], into) == nil
}
