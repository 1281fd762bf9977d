package usercache

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/clerkgate/clerkgate/internal/redislink"
)

// Each user has one hash, so every script has one key and also works in a cluster. Its
// fields:
//
//	b  what marshal returns for BASIC, encrypted if there is a key
//	p  what marshal returns for FULL alone, empty if there is nothing; it is
//	   missing if there is something and no key to encrypt it with
//	u  updated_at in Unix ms
//	s  the stamp, higher than the flight's if a webhook has confirmed the copy
//	o  the stamp that the copy came with, 0 if a webhook brought it
//	f  when the flight left, in Unix µs by Redis's clock
//	m  "1" where there is no such user, else empty
//	d  present for a tombstone only
//	i  the number of the last invalidation; copies with a lower stamp are old
//	v  the newest updated_at of a webhook, or of a copy before there was no such user, in Unix ms
//	j  the number of the last webhook: flights below it count if they are not older than v
//	x  until when i, v and j are needed, in Unix ms by Redis's clock
//	w  present once an invalidation has left no copy: its version is unknown
//
// There is a copy if b is present. Numbers stay below 2^53, which Lua holds exactly. A key of
// another type, and a hash with fields that are not numbers, count as lost and are
// overwritten.

// luaLoad is prepended to scripts. It reads the hash into h, with numbers converted, and
// sets has if there is a copy. now is Redis's time in µs.
const luaLoad = `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local h, has = {}, false
local function text(n) return string.format('%.0f', n) end
do
  local names = { 'u', 's', 'o', 'f', 'i', 'v', 'j', 'x', 'm', 'd', 'w' }
  local kind = redis.call('TYPE', KEYS[1]).ok
  local sound = kind == 'hash' or kind == 'none'
  if kind == 'hash' then
    local values = redis.call('HMGET', KEYS[1], unpack(names))
    has = redis.call('HEXISTS', KEYS[1], 'b') == 1
    for i, name in ipairs(names) do
      h[name] = values[i] or nil
      if i <= 8 and values[i] then
        h[name] = tonumber(values[i])
        sound = sound and h[name] ~= nil and h[name] == h[name] and h[name] < 2^53
      end
    end
    sound = sound and (not has or h.u and h.s and h.o and h.f and h.m ~= nil)
  end
  if not sound then
    h, has = {}, false
    redis.call('DEL', KEYS[1])
  end
end
-- store replaces the copy. A private part of 'none' is not stored.
local function store(public, private, u, s, o, f, m)
  redis.call('HSET', KEYS[1], 'b', public, 'u', u, 's', s, 'o', o, 'f', text(f), 'm', m)
  if private == 'none' then
    redis.call('HDEL', KEYS[1], 'p')
  else
    redis.call('HSET', KEYS[1], 'p', string.sub(private, 2))
  end
end
local function drop() redis.call('HDEL', KEYS[1], 'b', 'p', 'u', 's', 'o', 'f', 'm') end
local function expire(keep)
  if h.x then keep = math.max(keep, h.x - math.floor(now / 1000)) end
  redis.call('PEXPIRE', KEYS[1], text(math.max(1, keep)))
end
-- remember lets the marks be kept for a while.
local function remember(keep)
  h.x = math.floor(now / 1000) + keep
  redis.call('HSET', KEYS[1], 'x', text(h.x))
end
`

// getScript reads a copy: its fields b and s, its age in µs, and, for FULL, p. It
// returns nothing if there is none, or if the copy is from the future: Redis's clock was
// then set back, and its age is unknown. It writes nothing.
//
// ARGV: "1" for FULL.
var getScript = redislink.NewScript(`
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return false end
local t = redis.call('TIME')
local h = redis.call('HMGET', KEYS[1], 'b', 's', 'f', ARGV[1] == '1' and 'p' or 'u')
local f = tonumber(h[3] or '')
if not h[1] or not h[2] or not f then return false end
local age = t[1] * 1000000 + t[2] - f
if age < 0 then return false end
if ARGV[1] ~= '1' then h[4] = false end
return { h[1], h[2], string.format('%.0f', age), h[4] }
`)

// putScript stores an answer of Clerk unless something newer is known, and reports
// whether it did. If the answer is that there is no such user any more, the version of the
// replaced copy is kept, since a late webhook may have an older one.
//
// ARGV: public, private, updated_at, stamp, age in µs, missing, ms to keep it, "1" to
// replace only.
var putScript = redislink.NewScript(luaLoad + `
local u, s, f, m = tonumber(ARGV[3]), tonumber(ARGV[4]), now - ARGV[5], ARGV[6]
if h.d or (h.i or 0) > s or (h.j or 0) > s and not (m == '' and u >= (h.v or 0)) then
  return 0
end
if has then
  if m == h.m and u ~= h.u then
    if h.u > u then return 0 end
  elseif h.s > s or h.s == s and h.f > f and h.f <= now then
    return 0
  end
elseif ARGV[8] == '1' then
  return 0
end
if has and h.m == '' and m == '1' then
  redis.call('HSET', KEYS[1], 'v', text(math.max(h.u, h.v or 0)))
end
store(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[4], f, m)
expire(tonumber(ARGV[7]))
return 1
`)

// invalidateScript drops a copy and marks the user. It keeps tombstones, and copies of later
// requests. It drops the copy of a webhook even if that has a higher number: the webhook may
// have come first.
//
// ARGV: number, ms to keep the mark.
var invalidateScript = redislink.NewScript(luaLoad + `
local n, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
if h.d then
  return 0
end
if has and h.o < n then
  drop()
  has = false
end
redis.call('HSET', KEYS[1], 'i', text(math.max(n, h.i or 0)))
remember(keep)
if has then
  expire(redis.call('PTTL', KEYS[1]))
else
  redis.call('HSET', KEYS[1], 'w', '1')
  expire(keep)
end
return 1
`)

// applyScript stores the copy of a webhook, records its version, and returns the outcome. If
// Redis has that version or a newer one, it also returns the updated_at of that copy, which is
// then confirmed: it is as good as one that came now. If there is no version to compare with,
// and the last invalidation was of an unknown version, the webhook's copy may be older than that
// one, and is not stored. An answer that there is no such user has no version. If it may be older
// than the webhook, it is dropped.
//
// ARGV: public, private, updated_at, number, age in µs, missing, ms to keep it,
// "1" for a tombstone, ms to keep the mark, "1" if marks may be missing.
var applyScript = redislink.NewScript(luaLoad + `
local u, n, keep, mark = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[7]), tonumber(ARGV[9])
local tombstone = ARGV[8] == '1'
if h.d and not tombstone then
  return { ` + outcomeDeleted + `, 0 }
end
local known = has and h.m == '' and h.u >= u
local absent = has and h.m == '1'
local later = absent and h.s > n
local blind = (absent or not has) and (ARGV[10] == '1' or h.w and (h.x or 0) > now / 1000 or (h.v or 0) > u)
local outcome, newest = ` + outcomeRefused + `, 0
if tombstone or not known and not later and not blind and (h.i or 0) <= n then
  store(ARGV[1], ARGV[2], ARGV[3], ARGV[4], '0', now - ARGV[5], ARGV[6])
  if tombstone then redis.call('HSET', KEYS[1], 'd', '1') end
  outcome = ` + outcomePlaced + `
else
  if known then
    outcome, newest = ` + outcomeKnown + `, h.u
    if h.s < n then redis.call('HSET', KEYS[1], 's', ARGV[4]) end
  elseif absent and not later then
    drop()
  end
  keep = redis.call('PTTL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'v', text(math.max(u, h.v or 0)), 'j', text(math.max(n, h.j or 0)))
remember(mark)
expire(keep)
return { outcome, text(newest) }
`)

// The outcomes of applyScript; see applyOutcome.
const (
	outcomeRefused = "0"
	outcomePlaced  = "1"
	outcomeKnown   = "2"
	outcomeDeleted = "3"
)

// The sequence is one hash:
//
//	n  the last number drawn
//	t  a token that every publication replaces; a replica that knows the token has
//	   missed nothing
//	p  the number of publications
//	e  a token that a Redis which lost its data can't have
//	b  when the sequence began, in Unix ms
//	l:REPLICA  changes with each heartbeat of a replica that trusts its memory
//	h:REPLICA  e and p of the last publication that it has received
//
// A new sequence begins at the time of day in ms, or well above the highest
// number that its creator has seen, since other replicas may have seen slightly higher
// ones.
const luaSequence = `
local seen = tonumber(ARGV[1])
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local h = redis.call('HMGET', KEYS[1], 'n', 't', 'p', 'e', 'b')
local n, token, p, epoch, born = tonumber(h[1] or ''), h[2], tonumber(h[3] or ''), h[4], tonumber(h[5] or '')
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
local function text(x) return string.format('%.0f', x) end
if not (n and token and p and epoch and born and n < 2^53) then
  n, p, token, epoch, born = math.max(ms, seen + 1000), 0, ARGV[2], ARGV[2], ms
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 't', token, 'p', '0', 'e', epoch, 'b', text(ms))
end
n = math.max(n, seen)
local function keep()
  redis.call('HSET', KEYS[1], 'n', text(n))
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
-- publish reports whether this user may.
local function publish(channel, message)
  local reply = redis.pcall('PUBLISH', channel, message)
  return type(reply) ~= 'table' or not reply.err
end
`

// drawScript draws the next number, and returns it and the sequence's age in ms.
//
// ARGV: the highest number seen, a new token, ms to keep the sequence.
var drawScript = redislink.NewScript(luaSequence + `
n = n + 1
keep()
return { text(n), text(math.abs(ms - born)) }
`)

// publishScript publishes an invalidation to all replicas, and returns the number of the
// publication, the epoch, and the leases of all replicas. A channel needs no key; it has the
// sequence's, so that one node publishes everything, in order.
//
// ARGV: the highest number seen, a new token, ms to keep the sequence, channel, number, ids.
var publishScript = redislink.NewScript(luaSequence + `
p = p + 1
keep()
redis.call('HSET', KEYS[1], 't', ARGV[2], 'p', text(p))
publish(ARGV[4], table.concat({ 'invalidated', token, ARGV[2], epoch, text(p), ARGV[5], ARGV[6] }, ' '))
return { text(p), epoch, redis.call('HGETALL', KEYS[1]) }
`)

// beatScript publishes a heartbeat that its own replica receives, and returns the last number,
// whether the replica may publish, and the leases of all replicas. It drops replicas that are
// gone.
//
// ARGV: the highest number seen, a new token, ms to keep the sequence, channel,
// replica, its lease (empty: it trusts nothing), time of sending, replicas that are gone.
var beatScript = redislink.NewScript(luaSequence + `
keep()
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[1], 'l:' .. ARGV[5], ARGV[6])
else
  redis.call('HDEL', KEYS[1], 'l:' .. ARGV[5], 'h:' .. ARGV[5])
end
for i = 8, #ARGV do redis.call('HDEL', KEYS[1], 'l:' .. ARGV[i], 'h:' .. ARGV[i]) end
local may = publish(ARGV[4], table.concat({ 'beat', token, ARGV[5], epoch, text(p), ARGV[7], text(n) }, ' '))
return { text(n), may and 1 or 0, redis.call('HGETALL', KEYS[1]) }
`)

// runScript runs a script for each call and returns the numbers that it returns, 0 for
// calls that failed; the error is the first one's.
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

// runOne runs a script that returns an array.
func runOne(ctx context.Context, c rueidis.Client, s redislink.Script, call redislink.ScriptCall) ([]rueidis.RedisMessage, error) {
	return s.Run(ctx, c, call)[0].ToArray()
}
