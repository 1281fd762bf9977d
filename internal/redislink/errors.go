package redislink

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// Kind is a kind of failure of a call to Redis, in the terms of its operators.
type Kind string

// The kinds.
const (
	OutOfMemory   Kind = "OOM"           // maxmemory is reached and nothing can be evicted
	WrongPassword Kind = "WRONGPASS"     // the user or password is wrong, or missing
	NotPermitted  Kind = "NOPERM"        // the user lacks a right
	ReadOnly      Kind = "READONLY"      // a read-only replica of Redis was asked to write
	OtherReply    Kind = "other"         // another error reply
	TimedOut      Kind = "timeout"       // no answer in time
	Unreachable   Kind = "no_connection" // no connection, or a lost one
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{OutOfMemory, WrongPassword, NotPermitted, ReadOnly, OtherReply, TimedOut, Unreachable}
}

// Hint returns what an operator can do about errors of a kind, or "".
func (k Kind) Hint() string { return hints[k] }

var hints = map[Kind]string{
	OutOfMemory:   "raise maxmemory",
	WrongPassword: "check the user and the password in --redis-url",
	NotPermitted:  "give the user its rights: docs/operations.md has the command",
	ReadOnly:      "name the primary in --redis-url, or its sentinels",
	TimedOut:      "look at the load of Redis and of the network",
	Unreachable:   "check that Redis runs, and the address in --redis-url",
}

// KindOf returns the kind of a non-nil error. An error in a script contains the error of
// its command.
func KindOf(err error) Kind {
	if reply, ok := rueidis.IsRedisErr(err); ok {
		text := reply.Error()
		for _, k := range []Kind{OutOfMemory, WrongPassword, NotPermitted, ReadOnly} {
			if strings.Contains(text, string(k)) {
				return k
			}
		}
		switch {
		case strings.Contains(text, "NOAUTH"):
			return WrongPassword
		case strings.Contains(text, "The user executing the script"): // the text in Redis 7.0
			return NotPermitted
		}
		return OtherReply
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return TimedOut
	}
	return Unreachable
}

// Plain returns a non-nil error without the arguments of a command that Redis, or a proxy in
// its place, does not know and repeats: those of AUTH are the user and the password.
func Plain(err error) error {
	text, _, repeated := strings.Cut(err.Error(), "with args beginning with")
	if !repeated {
		return err
	}
	return &plainError{strings.TrimRight(text, ", "), err}
}

// plainError is an error with another text.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

// Errors counts errors by kind. The zero value is ready for use. It is safe for
// concurrent use.
type Errors struct {
	// News, if not nil, is called with an error of a kind that has not occurred recently,
	// so that it can be logged, as Plain returns it. Set it before the first Add.
	News func(Kind, error)

	mu     sync.Mutex
	counts map[Kind]int64
	last   map[Kind]time.Time
}

// quietAfter is how long a kind must not occur before its next error is passed to News.
const quietAfter = time.Minute

// Add counts an error and returns its kind.
func (e *Errors) Add(err error) Kind {
	kind := KindOf(err)
	now := time.Now()
	e.mu.Lock()
	if e.counts == nil {
		e.counts, e.last = make(map[Kind]int64), make(map[Kind]time.Time)
	}
	last, known := e.last[kind]
	e.counts[kind]++
	e.last[kind] = now
	e.mu.Unlock()
	if e.News != nil && (!known || now.Sub(last) > quietAfter) {
		e.News(kind, Plain(err))
	}
	return kind
}

// Counts returns the number of errors by kind, including kinds without errors.
func (e *Errors) Counts() map[Kind]int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	counts := make(map[Kind]int64)
	for _, k := range Kinds() {
		counts[k] = e.counts[k]
	}
	return counts
}
