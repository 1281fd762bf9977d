package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// rawClient makes gRPC calls over plain HTTP/2. Unlike grpc-go's client it does not end a
// call at its deadline, so it shows what the server does then.
type rawClient struct{ http *http.Client }

// patience is how long after its deadline a call is awaited.
const patience = 20 * time.Second

func newRawClient() *rawClient {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &rawClient{&http.Client{Transport: &http.Transport{Protocols: protocols}}}
}

func (c *rawClient) close() { c.http.CloseIdleConnections() }

// ending is the end of a call.
type ending struct {
	code       codes.Code
	message    string
	reason     string        // from the ErrorInfo; "" without one
	retryDelay time.Duration // from the RetryInfo; 0 without one
	lost       error         // the call ended without a gRPC status or with an invalid message
}

func (e ending) ok() bool { return e.lost == nil && e.code == codes.OK }

// call makes a call with the given timeout. It passes each message of the answer to read;
// an error of read ends the call as lost.
func (c *rawClient) call(ctx context.Context, address, method, caller string, timeout time.Duration, req proto.Message, read func([]byte) error) ending {
	ctx, cancel := context.WithTimeout(ctx, timeout+patience)
	defer cancel()
	message, err := proto.Marshal(req)
	if err != nil {
		return ending{lost: err}
	}
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+method, bytes.NewReader(body))
	if err != nil {
		return ending{lost: err}
	}
	post.Header = http.Header{
		"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Clerkgate-Caller": {caller},
		"Grpc-Timeout": {strconv.FormatInt(timeout.Milliseconds(), 10) + "m"},
	}
	resp, err := c.http.Do(post)
	if err != nil {
		return ending{lost: err}
	}
	defer resp.Body.Close()
	for {
		message, err := readMessage(resp.Body)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = read(message)
		}
		if err != nil {
			return ending{lost: err}
		}
	}
	if resp.Header.Get("Grpc-Status") != "" {
		return endingOf(resp.Header)
	}
	return endingOf(resp.Trailer)
}

// readMessage reads a length-prefixed message. It returns io.EOF at the end.
func readMessage(r io.Reader) ([]byte, error) {
	var prefix [5]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint32(prefix[1:]))
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, fmt.Errorf("a message is cut off: %w", errors.Join(io.ErrUnexpectedEOF, errors.New(err.Error())))
	}
	return message, nil
}

// endingOf returns the end of a call from its trailers.
func endingOf(h http.Header) ending {
	code, err := strconv.ParseUint(h.Get("Grpc-Status"), 10, 32)
	if err != nil {
		return ending{lost: errors.New("the call ended without a status")}
	}
	e := ending{code: codes.Code(code), message: h.Get("Grpc-Message")}
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(h.Get("Grpc-Status-Details-Bin"), "="))
	if err != nil {
		return ending{lost: err}
	}
	var details spb.Status
	if err := proto.Unmarshal(text, &details); err != nil {
		return ending{lost: err}
	}
	for _, d := range details.Details {
		var info errdetails.ErrorInfo
		var retry errdetails.RetryInfo
		switch {
		case d.UnmarshalTo(&info) == nil:
			e.reason = info.Reason
		case d.UnmarshalTo(&retry) == nil:
			e.retryDelay = retry.RetryDelay.AsDuration()
		}
	}
	return e
}
