package server

import (
	"math/rand/v2"
	"time"
)

// Limits bound what callers may send, and close connections that are old, idle or dead. The
// zero value of each field means its default. They apply to all listeners, unless a field
// names one.
type Limits struct {
	// AddressShare is the part of Config.MaxConnections that one address may have, above 0,
	// at most 1. At least one connection is allowed. Default 0.25.
	AddressShare float64
	// MaxMetadataBytes is the maximum size of a call's metadata or a request's header, which
	// may have a large JSON Web Token. Default 64 KiB.
	MaxMetadataBytes int
	// MaxRequestBytes is the maximum size of a call's request, at most 16 MiB. Default 1 MiB.
	MaxRequestBytes int
	// ReadTimeout is the time limit for an HTTP request to arrive, with its body, and for the
	// request of a gRPC call after its metadata. Default 10 s.
	ReadTimeout time.Duration
	// MaxTimeout is the time limit of a call, and of each page of a stream, whatever the
	// caller's deadline. Default 10 min.
	MaxTimeout time.Duration
	// ConnectionAge is the age at which a connection is closed once its calls have ended,
	// plus or minus a random tenth. Default 30 min.
	ConnectionAge time.Duration
	// ConnectionIdle is the time without calls after which a gRPC connection is closed.
	// Default 15 min.
	ConnectionIdle time.Duration
	// HTTPIdle is the time between two requests after which an HTTP connection is closed.
	// Default 90 s.
	HTTPIdle time.Duration
	// KeepaliveInterval is the time without a frame after which an HTTP/2 client is pinged,
	// at least 1 s. Default 1 min.
	KeepaliveInterval time.Duration
	// KeepaliveTimeout is how long the client may take to answer the ping. Default 20 s.
	KeepaliveTimeout time.Duration
	// KeepaliveMinInterval is the minimum time between pings of a gRPC client. A client that
	// pings more often is disconnected. Default 4 s, so pings every 5 s are allowed.
	KeepaliveMinInterval time.Duration
}

func (l Limits) withDefaults() Limits {
	orElse(&l.AddressShare, 0.25)
	orElse(&l.MaxMetadataBytes, 64<<10)
	orElse(&l.MaxRequestBytes, 1<<20)
	orElse(&l.ReadTimeout, 10*time.Second)
	orElse(&l.MaxTimeout, 10*time.Minute)
	orElse(&l.ConnectionAge, 30*time.Minute)
	orElse(&l.ConnectionIdle, 15*time.Minute)
	orElse(&l.HTTPIdle, 90*time.Second)
	orElse(&l.KeepaliveInterval, time.Minute)
	orElse(&l.KeepaliveTimeout, 20*time.Second)
	orElse(&l.KeepaliveMinInterval, 4*time.Second)
	return l
}

// orElse sets a field that is zero to its default.
func orElse[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// writeTimeout is the time limit of an answer over HTTP from the end of the header, while the
// body may still arrive. A call, a stream and a webhook set their own.
func (l Limits) writeTimeout() time.Duration { return l.ReadTimeout + 5*time.Second }

// connectionEnd returns when a connection that begins now has its ConnectionAge. The
// random part, the same as gRPC's, keeps connections that began together from ending
// together.
func (l Limits) connectionEnd() time.Time {
	return time.Now().Add(time.Duration((0.9 + 0.2*rand.Float64()) * float64(l.ConnectionAge)))
}
