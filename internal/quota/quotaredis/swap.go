package quotaredis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/clerkgate/clerkgate/internal/redislink"
)

// errNotConnected means that no exchange has connected yet, or the link is broken.
var errNotConnected = errors.New("redis: not connected")

// swapScript replaces an entry with another if it is as expected.
var swapScript = redislink.NewScript(`
local entry = redis.call('GET', KEYS[1]) or ''
if entry == ARGV[1] and ARGV[2] ~= '' then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  entry = ARGV[2]
elseif entry == ARGV[1] and entry ~= '' then
  redis.call('DEL', KEYS[1])
  entry = ''
end
return { entry, tostring(redis.call('PTTL', KEYS[1])) }
`)

// Swap sets the entry of a name to next, and keeps it for a time, if the entry is prev. An
// empty string means no entry. Swap returns the resulting entry, and how long it is still
// kept. It fails unless an exchange has connected. It is safe for concurrent use.
func (s *Store) Swap(ctx context.Context, name, prev, next string, keep time.Duration) (entry string, left time.Duration, err error) {
	client := s.link.Load()
	if client == nil {
		return "", 0, errNotConnected
	}
	result := swapScript.Run(ctx, *client, redislink.ScriptCall{
		Key: s.key + ":request:" + name, Args: []string{prev, next, strconv.FormatInt(max(1, keep.Milliseconds()), 10)},
	})[0]
	answer, err := result.AsStrSlice()
	if err != nil {
		s.errors.Add(err)
		return "", 0, fmt.Errorf("redis: %w", err)
	}
	if len(answer) != 2 {
		return "", 0, fmt.Errorf("redis: an entry of %d parts", len(answer))
	}
	ms, err := strconv.ParseInt(answer[1], 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("redis: an entry's time: %w", err)
	}
	return answer[0], time.Duration(max(0, ms)) * time.Millisecond, nil
}
