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

// Kind is what went wrong with a call to Redis, as an operator names it.
type Kind string

// The kinds.
const (
	OutOfMemory   Kind = "OOM"           // maxmemory is reached, and nothing may be evicted
	WrongPassword Kind = "WRONGPASS"     // the user or its password is wrong, or is needed
	NotPermitted  Kind = "NOPERM"        // the user may not do this
	ReadOnly      Kind = "READONLY"      // a replica of Redis was asked to write
	OtherReply    Kind = "other"         // another error of Redis's
	TimedOut      Kind = "timeout"       // no answer in time
	Unreachable   Kind = "no_connection" // no connection, or it was lost
)

// Kinds are all kinds.
func Kinds() []Kind {
	return []Kind{OutOfMemory, WrongPassword, NotPermitted, ReadOnly, OtherReply, TimedOut, Unreachable}
}

// Hint is what an operator may do about errors of a kind, empty if nothing is known.
func (k Kind) Hint() string { return hints[k] }

var hints = map[Kind]string{
	OutOfMemory:   "raise maxmemory",
	WrongPassword: "check the user and the password in --redis-url",
	NotPermitted:  "give the user its rights: docs/operations.md has the line to paste",
	ReadOnly:      "name the primary in --redis-url, or its sentinels",
	TimedOut:      "look at the load of Redis and of the network",
}

// KindOf returns the kind of an error that is not nil. An error in a script has the
// command's own in its text.
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
		case strings.Contains(text, "The user executing the script"): // Redis 7.0 says no more
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

// Errors counts errors by their kind. The zero value is ready; its methods are safe
// for concurrent use.
type Errors struct {
	// News, if set, is told of an error of which kind there was none lately, so
	// that a line in the log is worth while. It must not be changed once errors are
	// added.
	News func(Kind, error)

	mu     sync.Mutex
	counts map[Kind]int64
	last   map[Kind]time.Time
}

// quietAfter is how long no error of a kind must have come for the next one to be news.
const quietAfter = time.Minute

// Add counts an error, and returns its kind.
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
		e.News(kind, err)
	}
	return kind
}

// Counts returns how many errors of each kind there were. All kinds are there.
func (e *Errors) Counts() map[Kind]int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	counts := make(map[Kind]int64)
	for _, k := range Kinds() {
		counts[k] = e.counts[k]
	}
	return counts
}
