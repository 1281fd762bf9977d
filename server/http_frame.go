package server

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// frame is a message of a call by HTTP: the request, or an answer as a method returns it.
type frame struct {
	request proto.Message
	fault   error // why the request can't be read

	answer any // an *encoded, taken or once, which hold bytes, or a proto.Message
	output protoreflect.MessageType
}

// frameCodec reads and writes frames. Users are kept encoded and sent as they are kept;
// for JSON, which needs their fields, an answer is decoded first.
type frameCodec struct {
	name string
	json bool
}

func (c frameCodec) Name() string { return c.name }

// Unmarshal reads a request. A request that can't be read is a frame with a fault, so
// that its method refuses it: it is counted and logged, and its error has a reason.
// A field that is not in the contract is a fault: without a misspelt condition, a
// filter would select more users than the caller meant.
func (c frameCodec) Unmarshal(b []byte, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("a %T is no frame", v)
	}
	var err error
	if c.json {
		err = protojson.Unmarshal(b, f.request)
	} else {
		err = proto.Unmarshal(b, f.request)
	}
	if err != nil {
		f.fault = invalid("body", "must be a "+string(f.request.ProtoReflect().Descriptor().Name())+": "+err.Error())
	}
	return nil
}

func (c frameCodec) Marshal(v any) ([]byte, error) { return c.MarshalAppend(nil, v) }

// MarshalAppend appends the encoded frame to b. What it appends is a copy, since Connect
// uses its buffers again; it counts in the outbox beside the answer that is kept.
func (c frameCodec) MarshalAppend(b []byte, v any) ([]byte, error) {
	f, ok := v.(*frame)
	if !ok { // the status of a gRPC error
		return proto.MarshalOptions{}.MarshalAppend(b, v.(proto.Message))
	}
	var kept *lot
	var encodedAnswer []byte
	switch a := f.answer.(type) {
	case *encoded:
		kept, encodedAnswer = a.lot, a.buffer.ReadOnlyData()
	case taken:
		kept, encodedAnswer = a.lot, a.ReadOnlyData()
	case once:
		encodedAnswer = a
	case proto.Message:
		return c.encode(b, a)
	default:
		return nil, fmt.Errorf("a %T is no answer", a)
	}
	start := len(b)
	if c.json {
		m := f.output.New().Interface()
		if err := proto.Unmarshal(encodedAnswer, m); err != nil {
			return nil, err
		}
		var err error
		if b, err = c.encode(b, m); err != nil {
			return nil, err
		}
	} else {
		b = append(b, encodedAnswer...)
	}
	kept.grow(len(b) - start)
	return b, nil
}

// encode appends m to b.
func (c frameCodec) encode(b []byte, m proto.Message) ([]byte, error) {
	if c.json {
		return protojson.MarshalOptions{}.MarshalAppend(b, m)
	}
	return proto.MarshalOptions{}.MarshalAppend(b, m)
}
