package usercache

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/clerkgate/clerkgate/internal/redislink"
)

// What is kept of a user is one hash, so that every script has one key and works
// in a cluster, too. Its fields:
//
//	b  what marshal gives for BASIC
//	p  what marshal gives for FULL alone, empty if there is nothing
//	u  updated_at in Unix ms
//	s  the stamp, higher than the flight's if a webhook has confirmed the copy
//	o  the stamp that the copy came with, 0 if a webhook brought it
//	f  when the flight left, in Unix ns, as 19 digits so that it is compared as text
//	m  "1" where there is no such user, else empty
//	d  there for a tombstone only
//	i  the number of the last invalidation, from which flights count
//	x  until when i is needed, in Unix ms by Redis's clock
//	w  there once an invalidation has left no copy: nobody knows which version it was about
//
// A copy is there if b is. Numbers stay below 2^53, which Lua holds exactly.

// luaMark, before the other scripts, gives them mark: it notes the invalidation n.
const luaMark = `
local function mark(n, last, keep)
  local t = redis.call('TIME')
  local x = t[1] * 1000 + math.floor(t[2] / 1000) + keep
  redis.call('HSET', KEYS[1], 'i', string.format('%.0f', math.max(n, last)), 'x', string.format('%.0f', x))
end
`

// putScript stores a copy that Clerk gave unless something newer is known, and
// says whether it did.
//
// ARGV: public, private, updated_at, stamp, flight's departure, missing, ms to
// keep it, "1" to replace only.
var putScript = redislink.NewScript(`
local h = redis.call('HMGET', KEYS[1], 'u', 's', 'f', 'm', 'd', 'i', 'x')
local u, s, f, m = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
if h[5] or tonumber(h[6] or 0) > s then
  return 0
end
if h[1] then
  local storedU, storedS = tonumber(h[1]), tonumber(h[2])
  if m == h[4] and u ~= storedU then
    if storedU > u then return 0 end
  elseif storedS > s or storedS == s and h[3] > f then
    return 0
  end
elseif ARGV[8] == '1' then
  return 0
end
redis.call('HSET', KEYS[1], 'b', ARGV[1], 'p', ARGV[2], 'u', ARGV[3], 's', ARGV[4], 'o', ARGV[4], 'f', f, 'm', m)
local keep = tonumber(ARGV[7])
if h[7] then
  local t = redis.call('TIME')
  keep = math.max(keep, h[7] - t[1] * 1000 - math.floor(t[2] / 1000))
end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep))
return 1
`)

// invalidateScript drops a copy, but not a tombstone nor what left later, and
// marks the user. What a webhook brought is dropped even if it has a higher
// number: it may have come first.
//
// ARGV: number, ms to keep the mark.
var invalidateScript = redislink.NewScript(luaMark + `
local h = redis.call('HMGET', KEYS[1], 'o', 'd', 'i')
local n, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
if h[2] then
  return 0
end
if h[1] and tonumber(h[1]) < n then
  redis.call('HDEL', KEYS[1], 'b', 'p', 'u', 's', 'o', 'f', 'm')
  h[1] = false
end
if h[1] then
  keep = math.max(keep, redis.call('PTTL', KEYS[1]))
else
  redis.call('HSET', KEYS[1], 'w', '1')
end
mark(n, tonumber(h[3] or 0), tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep))
return 1
`)

// applyScript stores what a webhook told and marks the user. A copy that is
// there and has what the webhook tells is confirmed: it is as good as one that
// came now. Where there is none to compare with, and the last invalidation was of
// a version that nobody knows, what the webhook told may be older than that one,
// and is not stored.
//
// ARGV: public, private, updated_at, number, time told, missing, ms to keep it,
// "1" for a tombstone, ms to keep the mark.
var applyScript = redislink.NewScript(luaMark + `
local h = redis.call('HMGET', KEYS[1], 'u', 's', 'm', 'd', 'i', 'w', 'x')
local n, last, keep = tonumber(ARGV[4]), tonumber(h[5] or 0), tonumber(ARGV[7])
local tombstone = ARGV[8] == '1'
if h[4] and not tombstone then
  return 0
end
local known = h[3] == '' and tonumber(h[1]) >= tonumber(ARGV[3]) or h[3] == '1' and tonumber(h[2]) > n
local t = redis.call('TIME')
local blind = not h[1] and h[6] and tonumber(h[7] or 0) > t[1] * 1000 + math.floor(t[2] / 1000)
if tombstone or not known and not blind and last <= n then
  redis.call('HSET', KEYS[1], 'b', ARGV[1], 'p', ARGV[2], 'u', ARGV[3], 's', ARGV[4], 'o', '0', 'f', ARGV[5], 'm', ARGV[6])
  if tombstone then redis.call('HSET', KEYS[1], 'd', '1') end
else
  if known and tonumber(h[2]) < n then redis.call('HSET', KEYS[1], 's', ARGV[4]) end
  keep = redis.call('PTTL', KEYS[1])
end
mark(n, last, tonumber(ARGV[9]))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(keep, tonumber(ARGV[9]))))
return 1
`)

// The sequence is one hash: n the last number drawn, t a token that every
// publication replaces by a new one, so that whoever knows the token has missed
// nothing, and that a Redis which lost its data can't have. A new sequence begins
// at the time of day in ms, or well above the highest number that the replica
// that makes it has seen, since others may have seen a little more.
const luaSequence = `
local h = redis.call('HMGET', KEYS[1], 'n', 't')
local seen = tonumber(ARGV[1])
local n, token = tonumber(h[1] or 0), h[2]
if not h[1] then
  local t = redis.call('TIME')
  n = math.max(t[1] * 1000, seen + 1000)
  token = ARGV[2]
  redis.call('HSET', KEYS[1], 't', token)
end
n = math.max(n, seen)
`

// drawScript draws the next number.
//
// ARGV: the highest number seen, a new token.
var drawScript = redislink.NewScript(luaSequence + `
n = n + 1
redis.call('HSET', KEYS[1], 'n', string.format('%.0f', n))
return n
`)

// publishScript tells all replicas of an invalidation. It has the sequence's key,
// though a channel needs none, so that all is published by one node, in order.
//
// ARGV: the highest number seen, a new token, channel, number, ids.
var publishScript = redislink.NewScript(luaSequence + `
redis.call('HSET', KEYS[1], 'n', string.format('%.0f', n), 't', ARGV[2])
redis.call('PUBLISH', ARGV[3], 'invalidated ' .. token .. ' ' .. ARGV[2] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])
return n
`)

// beatScript lets a replica hear itself.
//
// ARGV: the highest number seen, a new token, channel, replica, time of sending.
var beatScript = redislink.NewScript(luaSequence + `
redis.call('HSET', KEYS[1], 'n', string.format('%.0f', n))
redis.call('PUBLISH', ARGV[3], 'beat ' .. token .. ' ' .. ARGV[4] .. ' ' .. ARGV[5] .. ' ' .. string.format('%.0f', n))
return n
`)

// runScript runs a script for each call and gives the numbers that it returns. Those
// that could not be run are 0; the error is the first one's.
func runScript(ctx context.Context, c rueidis.Client, s redislink.Script, calls ...redislink.ScriptCall) ([]int64, error) {
	numbers := make([]int64, len(calls))
	var first error
	for i, r := range s.Run(ctx, c, calls...) {
		var err error
		if numbers[i], err = r.AsInt64(); err != nil && first == nil {
			first = err
		}
	}
	return numbers, first
}
