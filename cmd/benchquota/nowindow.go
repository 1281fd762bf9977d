package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
)

// noWindow makes n calls of BatchGetUsers without deadlines, over one HTTP/2 connection
// with flow-control windows of 0: the server can't send a byte of an answer. It returns
// when ctx ends or the server closes the connection.
func noWindow(ctx context.Context, address string, n int, ids []string) error {
	message, err := proto.Marshal(&clerkgatev1.BatchGetUsersRequest{UserIds: ids})
	if err != nil {
		return err
	}
	body := append([]byte{0}, binary.BigEndian.AppendUint32(nil, uint32(len(message)))...)
	body = append(body, message...)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- writeCalls(framer, address, n, body) }()
	_, _ = io.Copy(io.Discard, conn) // other frames don't matter
	if err := <-sent; err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("after calls without a window: %w", err)
	}
	<-ctx.Done()
	return nil
}

func writeCalls(framer *http2.Framer, address string, n int, body []byte) error {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := range n {
		block.Reset()
		for _, field := range []hpack.HeaderField{
			{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: address},
			{Name: ":path", Value: clerkgatev1.UserService_BatchGetUsers_FullMethodName},
			{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
		} {
			if err := encoder.WriteField(field); err != nil {
				return err
			}
		}
		id := uint32(2*i + 1)
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
			return err
		}
		if err := framer.WriteData(id, true, body); err != nil {
			return err
		}
	}
	return nil
}
