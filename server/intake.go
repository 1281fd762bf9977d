package server

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"github.com/clerkgate/clerkgate/internal/words"
)

// Bounds of calls by HTTP.
const (
	// maxHTTPCalls is how many calls there are at once, of all callers. One takes about
	// 60 KB beside its messages.
	maxHTTPCalls = 4096
	// maxHTTPBodies is how many bytes of requests are held at once, of all callers. A
	// request of 100 ids has 4 KB.
	maxHTTPBodies = 32 << 20
	// maxHTTPStreams is how many calls there are at once on one connection; further ones
	// wait in the client.
	maxHTTPStreams = 250
	// httpReceiveBuffer is how many bytes of a request an HTTP/2 connection takes before
	// they are read; of all its requests it takes four times as many.
	httpReceiveBuffer = 64 << 10
	// intakeShare is the part of the first two that one address may have: a half.
	intakeShare = 2
)

// intake bounds the calls by HTTP that are open at once, and the bytes of their requests,
// in all and of one address. Its methods are safe for concurrent use.
type intake struct {
	maxCalls, maxBytes int

	mu   sync.Mutex
	all  load                   // guarded by mu
	from map[netip.Prefix]*load // guarded by mu

	refusedFull, refusedAddress atomic.Int64 // calls that were refused
}

type load struct{ calls, bytes int }

func newIntake(calls, bytes int) *intake {
	return &intake{maxCalls: calls, maxBytes: bytes, from: make(map[netip.Prefix]*load)}
}

// enter begins a call of an address, which leave ends. It fails with errCallerIntake or
// errIntakeFull.
func (i *intake) enter(address netip.Prefix) error { return i.add(address, 1, 0) }

func (i *intake) leave(address netip.Prefix) { i.remove(address, 1, 0) }

func (i *intake) add(address netip.Prefix, calls, bytes int) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	own := i.from[address]
	if own == nil {
		own = &load{}
	}
	switch {
	case address.IsValid() && (own.calls+calls > i.maxCalls/intakeShare || own.bytes+bytes > i.maxBytes/intakeShare):
		i.refusedAddress.Add(1)
		return errCallerIntake
	case i.all.calls+calls > i.maxCalls || i.all.bytes+bytes > i.maxBytes:
		i.refusedFull.Add(1)
		return errIntakeFull
	}
	i.from[address] = own
	own.calls += calls
	own.bytes += bytes
	i.all.calls += calls
	i.all.bytes += bytes
	return nil
}

func (i *intake) remove(address netip.Prefix, calls, bytes int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all.calls -= calls
	i.all.bytes -= bytes
	own := i.from[address]
	own.calls -= calls
	own.bytes -= bytes
	if *own == (load{}) {
		delete(i.from, address)
	}
}

// callBody is the body of a call. It fails with a *connect.Error, which Connect answers
// as it is.
type callBody struct {
	io.ReadCloser
	limits  Limits
	intake  *intake
	address netip.Prefix
	held    int   // bytes that count in intake
	fault   error // why it can't be read
}

func (b *callBody) Read(p []byte) (int, error) {
	if b.fault != nil {
		return 0, refusal(context.Background(), b.fault)
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case b.held+n > b.limits.MaxRequestBytes:
		b.fault = largeBody(b.limits.MaxRequestBytes)
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.fault = invalid("body", fmt.Sprintf("must come within %s", words.Duration(b.limits.ReadTimeout)))
	default:
		if b.fault = b.intake.add(b.address, 0, n); b.fault == nil {
			b.held += n
			return n, err
		}
	}
	return 0, refusal(context.Background(), b.fault)
}

// release ends the counting of the body.
func (b *callBody) release() { b.intake.remove(b.address, 0, b.held) }

// largeBody returns why a request is refused that is too large, as sent or decompressed.
func largeBody(limit int) error {
	return invalid("body", fmt.Sprintf("must have at most %d bytes", limit))
}

// requestGzip decompresses a request. It fails with a *connect.Error, as callBody, and as
// soon as there is too much: Connect would decompress the rest to learn its size.
type requestGzip struct {
	gzip.Reader
	limit int  // bytes that a request may have
	left  int  // bytes that the request may still have
	wrong bool // whether it does not begin as gzip
}

func (g *requestGzip) Reset(r io.Reader) error {
	g.left, g.wrong = g.limit, g.Reader.Reset(r) != nil
	return nil // Read fails
}

func (g *requestGzip) Read(p []byte) (n int, err error) {
	if !g.wrong {
		n, err = g.Reader.Read(p)
	}
	switch g.left -= n; {
	case g.left < 0:
		return 0, refusal(context.Background(), largeBody(g.limit))
	case g.wrong || err != nil && err != io.EOF: //nolint:errorlint // as readers return it
		return 0, refusal(context.Background(), invalid("body", "must be valid gzip"))
	}
	return n, err
}

func (g *requestGzip) Close() error {
	if g.wrong {
		return nil // the reader may have nothing to close
	}
	return g.Reader.Close()
}
