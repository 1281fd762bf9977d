-- One exchange of a replica with the state of the shared quota: the replica reports what
-- it has done with its permits, and gets others. The rules are those of package quota's
-- Limiter, and its comments are not repeated here.
--
-- KEYS[1]: the state. It is one key, so that a cluster can hold it. On the channel of the
-- same name, replicas receive what can't wait until their next report.
-- ARGV: the report (quota.Report as JSON), a token for a new state, and the time in µs,
-- empty for Redis's own.
--
-- Times are in µs by Redis's clock. In the report and the reply they count from now.
--
-- The script consists of all files of this folder, one after the other. This one reads the
-- state and checks whether it can be trusted.

local report = cjson.decode(ARGV[1])
local now
if ARGV[3] ~= '' then
  now = tonumber(ARGV[3])
else
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end

local VERSION = 1 -- of the stored form
local SECOND = 1000000
local LEAST_PAUSE, LONGEST_PAUSE = SECOND, 300 * SECOND
local me = report.id
local LENT = 'lent '
local LONGEST_LOAN = 300 * SECOND -- MaxLoan

-- The state -----------------------------------------------------------------
--
-- replicas: by id, the last report of each:
--   seen, seq, out (permits taken or reserved, not settled), fallback (it does
--   without this state), waits (permits wanted and not granted, by priority),
--   limit, window, burst; given (grants of the reply for later, until the reply is
--   known to have arrived); share and ready (permits that it may hold if it is cut off:
--   in the end, and at once), the larger of the values that it knew and gets now; old;
--   lend (permits that it will lend)
-- at, owner, count: when permits come free, sorted; whose they were; how many. The
--   owner of lent ones is LENT and the replica that has lent them
-- last, slow: the schedule: when the last request was to leave, until when it is even
-- learned (0: not lowered), learned_at, good, good_at, limited_at, era, paused, guess, penalty,
-- probing, prober: what 429s have taught
-- answered_at, answered: answers other than 429 in the last window
-- header_limit, header_until, released: what headers have shown
-- level, refilled: of a token bucket
-- credit: turns that batch priority has earned
-- strict: a window, no token bucket
-- mail: see there
-- past: by tag, when replicas that have ended were last known, while their leases may last
-- peers: replicas that there were before this state began, at born; known: how many of
-- them have reported since (they are old ones), and the sum of their shares then
-- blind, told: a replica waits for an unknown time; the last publication
-- trust: nothing is granted before, since permits may be held that the state does not know

local function new_state(trust)
  -- No era of a lost state is used again: a report about such an era must not be taken for
  -- one about this state.
  local era = math.max(report.era + 1, math.floor(now / SECOND))
  return {
    version = VERSION, epoch = ARGV[2], now = now, born = now, trust = trust, replicas = {},
    peers = 0, known = 0, known_share = 0, strict = report.burst == 0,
    at = {}, owner = {}, count = {}, last = now, slow = 0,
    learned = 0, learned_at = now, good = 0, good_at = now, limited_at = 0, era = era, paused = 0, guess = 0, penalty = 0,
    probing = false, prober = '', answered_at = {}, answered = {},
    header_limit = 0, header_until = 0, released = 0, blind = false, told = 0,
    level = 0, refilled = now, credit = 0,
  }
end

-- A state of another version, or a key of another type, counts as lost.
local raw = redis.pcall('GET', KEYS[1])
if lost then
  raw = false
elseif type(raw) == 'table' then
  if not string.find(raw.err, 'WRONGTYPE', 1, true) then return raw end
  raw = false
end
local readable, state = pcall(cmsgpack.unpack, raw or '')
if not readable or type(state) ~= 'table' or state.version ~= VERSION then state = nil end

local function answer(status, fields)
  fields.status = status
  fields.now = string.format('%.0f', now)
  return cjson.encode(fields)
end

-- begin_anew replaces the state with one that knows the replicas, but not what they hold,
-- except for loans: the replica that has lent may be gone. Times are later by shift.
local function begin_anew(paused, shift)
  local before = state
  state = new_state(now + report.hold)
  state.era, state.learned, state.good = math.max(state.era, before.era + 1), before.learned, before.good
  state.paused, state.strict = paused, before.strict
  for _ in pairs(before.replicas) do state.peers = state.peers + 1 end
  for i = 1, #before.at do
    if string.sub(before.owner[i], 1, #LENT) == LENT then
      local n = #state.at + 1
      state.at[n], state.owner[n], state.count[n] = before.at[i] + shift, before.owner[i], before.count[i]
    end
  end
end

-- Redis's clock does not have the time that the replica expects. The reply shows the
-- replica whether that is so or this call came late, and its next report says which.
if state and report.expect > 0 and not report.jumped and math.abs(now - report.expect) > report.tolerance then
  return answer('jump', {})
end
if state and (report.jumped and report.epoch == state.epoch or state.now - now > report.tolerance) then
  -- All times are wrong by an unknown span.
  begin_anew(now + math.max(0, state.paused - state.now), now - state.now)
end

local fresh = not state
if fresh then
  -- A replica that knows another state shows that that one was lost. Permits held under it
  -- must have come free before this one is trusted.
  local trust = now
  if report.epoch ~= '' or report.first == 'wait' then trust = now + report.hold end
  state = new_state(trust)
end
now = math.max(now, state.now)
state.now = now

local mine = state.replicas[me]
if mine and mine.seq >= report.seq then
  return answer('stale', {}) -- a call that was given up and arrives after a later one
end
if report.epoch == state.epoch and
    (mine and mine.seq < report.acked or not mine and not report.fallback) then
  -- Redis has older data than in an earlier reply.
  begin_anew(state.paused, 0)
  state.peers = state.peers + 1 -- the lost state may have known one more
  mine = nil
elseif report.epoch ~= '' and report.epoch ~= state.epoch then
  state.trust = math.max(state.trust, state.born + report.hold)
end
local old = mine and mine.old
if not old and report.epoch ~= '' and report.epoch ~= state.epoch then
  old = true
  state.peers = math.max(state.peers, report.peers)
  state.known, state.known_share = state.known + 1, state.known_share + report.share
end

local sharing = not report.fallback and report.epoch == state.epoch

