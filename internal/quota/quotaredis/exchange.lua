-- One exchange of a replica with the quota that it shares: the replica reports
-- what it has done with its permits, and gets others. The rules are those of
-- package quota's Limiter; what is said there is not said again here.
--
-- KEYS[1]: the state. It is one key, so that a cluster can hold it. On the channel
-- of its name, replicas hear of what they can't wait for until their next report.
-- ARGV: the report (quota.Report as JSON), a token for a new state, and the time
-- in µs, empty for Redis's own.
--
-- Times are in µs by Redis's clock; in the report and the reply they count from now.

local report = cjson.decode(ARGV[1])
local now
if ARGV[3] ~= '' then
  now = tonumber(ARGV[3])
else
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end

local VERSION = 1 -- of what is stored
local SECOND = 1000000
local LEAST_PAUSE, LONGEST_PAUSE = SECOND, 300 * SECOND
local me = report.id

-- The state -----------------------------------------------------------------
--
-- replicas: by id, what each last said of itself:
--   seen, seq, out (permits taken or reserved, not settled), fallback (it does
--   without this state), waits (permits wanted and not given, by priority),
--   limit, window, burst; given (the reply's grants that lie ahead, until it is
--   known to have come); share and ready (permits that it may hold if it is cut off:
--   in the end, and at once), the larger of what it knew and of what it is told; old
-- at, owner, count: when permits come free, sorted; whose they were; how many
-- last, slow: the schedule: when the last request was to leave, until when it is even
-- learned (0: not lowered), learned_at, limited_at, era, paused, guess, penalty,
-- probing, prober: what 429s have taught
-- answered_at, answered: answers other than 429 in the last window
-- header_limit, header_until, released: what headers have said
-- level, refilled: of a token bucket
-- credit: turns that batch priority has earned
-- strict: a window, no token bucket
-- peers: replicas that there were before this state began, at born; known: how many of
-- them have reported since (they are old ones), and the sum of their shares then
-- blind, told: a replica waits and could not be told for how long; the last publication
-- trust: nothing is granted before, since permits may be held that it knows not of

local function new_state(trust)
  -- No era of a state that was lost comes again: what a replica says of one, whichever
  -- it knows, must not be taken for news of this one.
  local era = math.max(report.era + 1, math.floor(now / SECOND))
  return {
    version = VERSION, epoch = ARGV[2], now = now, born = now, trust = trust, replicas = {},
    peers = 0, known = 0, known_share = 0, strict = report.burst == 0,
    at = {}, owner = {}, count = {}, last = now, slow = 0,
    learned = 0, learned_at = now, limited_at = 0, era = era, paused = 0, guess = 0, penalty = 0,
    probing = false, prober = '', answered_at = {}, answered = {},
    header_limit = 0, header_until = 0, released = 0, blind = false, told = 0,
    level = 0, refilled = now, credit = 0,
  }
end

-- What is no state of this version, or a key of another type, is as good as lost.
local raw = redis.pcall('GET', KEYS[1])
if type(raw) == 'table' then
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

-- begin_anew replaces the state by one that knows who there is, but not what they hold.
local function begin_anew(paused)
  local before = state
  state = new_state(now + report.hold)
  state.era, state.learned = math.max(state.era, before.era + 1), before.learned
  state.paused, state.strict = paused, before.strict
  for _ in pairs(before.replicas) do state.peers = state.peers + 1 end
end

-- Redis's clock is not where the replica expects it. The replica sees by the
-- reply whether that is so, or this call came late, and says so in another.
if state and report.expect > 0 and not report.jumped and math.abs(now - report.expect) > report.tolerance then
  return answer('jump', {})
end
if state and (report.jumped and report.epoch == state.epoch or state.now - now > report.tolerance) then
  -- All times are wrong by an unknown span.
  begin_anew(now + math.max(0, state.paused - state.now))
end

local fresh = not state
if fresh then
  -- A replica that has known another state tells that it was lost; what was
  -- held under it must have ended before this one is trusted.
  local trust = now
  if report.epoch ~= '' or report.first == 'wait' then trust = now + report.hold end
  state = new_state(trust)
end
now = math.max(now, state.now)
state.now = now

local mine = state.replicas[me]
if mine and mine.seq >= report.seq then
  return answer('stale', {}) -- a call that was given up, and comes after a later one
end
if report.epoch == state.epoch and
    (mine and mine.seq < report.acked or not mine and not report.fallback) then
  -- Redis answers with data older than what it has answered before.
  local peers = 1
  for _ in pairs(state.replicas) do peers = peers + 1 end
  state = new_state(now + report.hold)
  state.peers = peers
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

-- Who there is ----------------------------------------------------------------

local function insert(t, owner, n)
  if report.limit > 512 then -- so that the state stays small
    local step = math.ceil(report.window / 512)
    t = math.ceil(t / step) * step
  end
  local i = #state.at
  while i > 0 and state.at[i] > t do i = i - 1 end
  if i > 0 and state.at[i] == t and state.owner[i] == owner then
    state.count[i] = state.count[i] + n
    return
  end
  table.insert(state.at, i + 1, t)
  table.insert(state.owner, i + 1, owner)
  table.insert(state.count, i + 1, n)
end

-- keep drops the releases for which keeps is false, and says how many permits those were.
local function keep(keeps)
  local at, owner, count, dropped = {}, {}, {}, 0
  for i = 1, #state.at do
    if keeps(i) then
      local n = #at + 1
      at[n], owner[n], count[n] = state.at[i], state.owner[i], state.count[i]
    else
      dropped = dropped + state.count[i]
    end
  end
  state.at, state.owner, state.count = at, owner, count
  return dropped
end

local unanswered = 0 -- since the last exchange: a bucket fills no room of theirs
for _, r in pairs(state.replicas) do unanswered = unanswered + r.out end
for i = 1, #state.count do unanswered = unanswered + state.count[i] end

-- If the last reply did not arrive, nobody uses what it gave.
local returned = report.returned -- to a bucket
local lost = mine and mine.given and mine.given_seq > report.acked and mine.given or {}
if report.full then keep(function(i) return state.owner[i] ~= me end) end
for _, t in ipairs(lost) do
  if not state.strict then
    returned = returned + 1
  elseif t > now then
    insert(t, me, 1)
  end
end
mine = {
  seen = now, seq = report.seq, out = report.out, fallback = not sharing, waits = { 0, 0 },
  limit = report.limit, window = report.window, burst = report.burst,
  share = report.share, ready = report.ready, old = old,
}
state.replicas[me] = mine
if report.bye then state.replicas[me] = nil end

local limit, window, burst, least_burst = report.limit, report.window, report.burst, math.huge
local ids = {} -- sorted, so that every Redis counts alike
local place = string.match(me, '^(.+)/')
for id, r in pairs(state.replicas) do
  if now - r.seen > 10 * window then
    state.replicas[id] = nil
  elseif place and id ~= me and now - r.seen > report.alive and string.match(id, '^(.+)/') == place then
    -- This one has taken its place. What it had under way may still arrive.
    state.replicas[id] = nil
    if r.out > 0 then insert(now + report.lost_hold + (state.strict and report.hold or 0), id, r.out) end
  else
    ids[#ids + 1] = id
    limit, window, burst = math.min(limit, r.limit), math.max(window, r.window), math.min(burst, r.burst)
    if r.burst > 0 then least_burst = math.min(least_burst, r.burst) end
  end
end
table.sort(ids)
if now - state.born > 10 * window then state.peers = 0 end
local ghosts = math.max(0, state.peers - state.known) -- not heard of in this state
local replicas = math.max(1, #ids + ghosts)

local function save()
  redis.call('SET', KEYS[1], cmsgpack.pack(state), 'PX', math.ceil((20 * window + report.lost_hold) / 1000))
end

if fresh then
  state.strict = burst == 0
elseif state.strict ~= (burst == 0) and (burst == 0 or now >= state.trust and ghosts == 0) then
  -- Of permits of the other kind it is not known when they come free.
  if report.epoch == '' then state.replicas[me] = nil end -- it is none of those before
  begin_anew(state.paused)
  state.strict = burst == 0
  save()
  return answer('stale', {})
end
if state.strict then limit, burst = math.min(limit, least_burst), 0 end
local hold = window * 1.005

-- What 429s have taught -----------------------------------------------------

local cut = 1
while cut <= #state.answered_at and state.answered_at[cut] <= now - window do cut = cut + 1 end
local accepted = 0
do
  local at, n = {}, {}
  for i = cut, #state.answered_at do
    at[#at + 1], n[#n + 1] = state.answered_at[i], state.answered[i]
    accepted = accepted + state.answered[i]
  end
  if report.accepted > 0 then
    accepted = accepted + report.accepted
    if #at > 0 and now - at[#at] < window / 50 then
      n[#n] = n[#n] + report.accepted
    else
      at[#at + 1], n[#n + 1] = now, report.accepted
    end
  end
  state.answered_at, state.answered = at, n
end

if state.learned > 0 then
  while state.learned_at + 3 * window <= now do
    state.learned_at = state.learned_at + 3 * window
    state.learned = state.learned + limit / 100
  end
  if state.learned >= limit then state.learned = 0 end
end
local function learned() return state.learned > 0 and math.min(state.learned, limit) or limit end

local news = false -- for the other replicas
for _, e in ipairs(report.limited) do
  local after = e.after
  if after <= 0 then
    state.guess = math.min(LONGEST_PAUSE, math.max(LEAST_PAUSE, 2 * state.guess))
    after = state.guess
  end
  after = math.min(LONGEST_PAUSE, math.max(LEAST_PAUSE, after))
  if e.era == state.era then -- else it left before the last 429 was known
    if state.limited_at == 0 or now - state.limited_at > window then
      local l = learned()
      state.learned = math.max(1, l / 2, math.min(l, 0.95 * accepted))
      state.penalty = 0
    else
      state.penalty = math.min(LONGEST_PAUSE, math.max(window / 20, 2 * state.penalty))
    end
    state.era = state.era + 1
    state.prober = ''
    news = true
  end
  state.limited_at = now
  state.learned_at = now + 3 * window
  state.level = math.min(state.level, 0)
  state.paused = math.max(state.paused, now + after + state.penalty)
  state.probing = true
end
if state.probing and report.answered_era == state.era then
  state.probing, state.prober, state.guess = false, '', 0
  state.slow, state.last = now + window, now
end
local prober = state.replicas[state.prober]
if state.probing and (not prober or now - prober.seen > report.alive or
    state.prober == me and not (report.era == state.era and report.era_out > 0)) then
  state.prober = '' -- the probe has told nothing
end

-- What is held ----------------------------------------------------------------

if fresh and report.first == 'slow' and burst == 0 then
  local n = limit - math.max(1, math.floor(limit / 10))
  for i = 1, n do insert(now + window * i / n, '', 1) end
end
for _, after in ipairs(state.strict and report.releases or report.lost) do insert(now + after, me, 1) end
if #state.at > 0 and state.at[1] <= now then
  state.released = state.released + keep(function(i) return state.at[i] > now end)
end

local queued, by_owner, out = 0, {}, 0
for i = 1, #state.at do
  queued = queued + state.count[i]
  by_owner[state.owner[i]] = (by_owner[state.owner[i]] or 0) + state.count[i]
end
local shared_out = math.max(1, math.floor(learned())) -- as shares
local away = ghosts > 0 and math.max(0, shared_out - state.known_share) or 0 -- shares of those who are
local others = away -- shares of all but me
local spare = {} -- by owner: releases that others may use, if not all
local seen = {} -- by owner who is not away: from when on
local extra, reserve, active, others_interactive, batch_waits = away, 0, 0, false, false
for _, id in ipairs(ids) do
  local r = state.replicas[id]
  local silent = now - r.seen > report.alive
  if silent and now - r.seen > hold + report.lost_hold then r.out = 0 end
  out = out + r.out
  local has = r.out + (by_owner[id] or 0)
  if id ~= me then others = others + r.share end
  if silent or r.fallback then
    -- It may be using its share, whatever it last said.
    away = away + r.share
    extra = extra + math.max(0, r.share - has)
    spare[id] = math.max(0, math.floor(has - r.share))
    r.waits = { 0, 0 }
  elseif id ~= me then
    -- It may be cut off, and then uses again all that it has.
    reserve = reserve + math.max(0, r.ready - has)
    seen[id] = r.seen
    if r.waits[1] + r.waits[2] > 0 then active = active + 1 end
    others_interactive = others_interactive or r.waits[1] > 0
    batch_waits = batch_waits or r.waits[2] > 0
  end
end
local held = out + queued

if report.headers.reset > 0 then
  local h = report.headers
  if burst > 0 then
    state.level = math.min(state.level, h.remaining)
  else
    state.header_limit = h.remaining + held + math.max(0, state.released - h.released)
    state.header_until = now + math.min(LONGEST_PAUSE, h.reset)
  end
end
local function limit_now()
  local n = math.max(1, math.floor(learned()))
  if now < state.header_until then n = math.max(0, math.min(n, state.header_limit)) end
  return n
end

local rate = math.max(0, limit_now() - away) / hold
local size = burst * math.max(0, 1 - away / shared_out)
if burst > 0 then
  if fresh and report.epoch == '' then state.level = report.first == 'full' and burst or report.first == 'slow' and burst / 10 or 0 end
  local level, passed = state.level + returned, now - state.refilled
  if level > size then
    -- Those who are away fill up what is theirs.
    level = math.max(size, level - passed * away / hold)
  else
    level = math.max(level, math.min(size - unanswered, level + passed * rate))
  end
  state.level = math.min(level, burst)
  state.refilled = now
end

-- left is what could be sent at once, and free what of it this replica may have.
local function left()
  if burst > 0 then return math.floor(state.level + 1e-6) end
  return math.floor(limit_now() - held - extra)
end
local function free()
  return burst > 0 and left() or left() - reserve
end

if state.blind and now - state.told > report.beat / 3 and now >= state.paused and (free() > 0 or queued > 0) and not (state.probing and state.prober ~= '') then
  state.blind, news = false, true
end
if news then state.told = now end

-- What may be sent ------------------------------------------------------------

local function even() return window / math.max(1, limit_now()) end

-- pace is when the schedule lets the next request go.
local function pace()
  local n = limit_now()
  if report.pace_always then return state.last + window / math.max(1, n - 3 - math.floor(n / 100)) end
  if now < state.slow then return state.last + even() end
  if burst > 0 or 2 * left() > n then return now end
  local f = math.max(0, free())
  -- What is out comes back within the hold, too: most of it is reserved for
  -- before state.last.
  local longest, passed = hold / math.max(1, f + queued + out + 1), 0
  local step = math.max(1, math.floor(#state.at / 64))
  for i = 1, #state.at do
    if state.at[i] - state.last > hold then break end -- those of requests without an answer
    if (i - 1) % step == 0 then
      longest = math.max(longest, (state.at[i] - state.last) / math.max(1, f + passed + 1))
    end
    passed = passed + state.count[i]
  end
  return state.last + longest
end

-- earliest is when a request might go, and the release that it would wait for,
-- nil if none; nil if that is not known, or true and the time if it is, and a permit
-- will be had by the next beat.
local function earliest()
  if now < state.paused then return state.paused end
  if state.probing and state.prober ~= '' then return nil end
  local t, release = now, nil
  if burst > 0 then
    if state.level < 1 - 1e-6 then
      if rate <= 0 or burst - held < 1 then return nil end
      t = now + (1 - state.level) / rate
    end
  elseif free() < 1 then
    local swallowed = 1 - free() -- a limit below what is held swallows the first releases
    local left = {}
    for i = 1, #state.at do
      local n, owner = state.count[i], state.owner[i]
      if spare[owner] then -- the others come free for itself
        n = math.min(n, left[owner] or spare[owner])
        left[owner] = (left[owner] or spare[owner]) - n
      end
      swallowed = swallowed - n
      if n > 0 and swallowed <= 0 then
        release = i
        break
      end
    end
    if not release then return nil end
    t = state.at[release]
    local reported = seen[state.owner[release]]
    if reported and t > reported + report.alive then
      -- Its owner uses it again by itself, should it be cut off now. If not it will
      -- have reported again before the next beat of this one.
      return nil, true, math.max(t, pace())
    end
  end
  return math.max(t, pace()), release
end

local grants, lag = {}, report.pace_always and even() or window / 20
local given = {}
local again = -1
local wants = report.wants[1] + report.wants[2]
-- headers_bind says whether it is the headers that let nothing through.
local function headers_bind()
  return burst == 0 and now < state.header_until and math.floor(learned()) - held - extra - reserve >= 1
end
local function refuse(t)
  if headers_bind() then t = math.min(t, state.header_until) end
  again = math.max(t, now + 1000) - now
end

if sharing and not report.bye and wants > 0 and now >= state.trust then
  active = active + 1
  -- One that has nothing may reserve its next permit as far ahead as all who
  -- wait need to have one each; further ones only so close that they are not
  -- taken from those who ask a moment later.
  local first = now + math.max(report.horizon, 2 * active * even())
  -- With the window that headers told of, the schedule is another.
  if headers_bind() then first = math.min(first, state.header_until) end
  local further = now + report.horizon / active
  for i = 1, wants do
    local interactive = i <= report.wants[1]
    if not interactive and others_interactive and state.credit < 1 then
      refuse(now + report.beat)
      break
    end
    local t, release = earliest()
    if not t then
      state.blind = not release
      if headers_bind() then refuse(state.header_until) end
      break
    end
    local until_ = (report.unused + #grants == 0) and first or further
    if t > until_ or now < state.paused then
      -- One that has something asks when it has used it.
      refuse(math.max(now < state.paused and t or t - (until_ - now), given[1] or report.unused > 0 and now + report.beat or 0))
      break
    end
    local due = pace()
    state.last = due < t - lag and t or due
    if release then
      local owner = state.owner[release]
      by_owner[owner] = by_owner[owner] - 1
      if spare[owner] then spare[owner] = spare[owner] - 1 end
      if seen[owner] and state.replicas[owner].out + by_owner[owner] < state.replicas[owner].ready then reserve = reserve + 1 end
      state.count[release] = state.count[release] - 1
      queued, held = queued - 1, held - 1
      if state.count[release] == 0 then
        table.remove(state.at, release)
        table.remove(state.owner, release)
        table.remove(state.count, release)
      end
    end
    if burst > 0 then state.level = state.level - 1 end
    mine.out, out, held = mine.out + 1, out + 1, held + 1
    grants[#grants + 1] = math.ceil(t - now)
    given[#given + 1] = t
    if interactive then
      if batch_waits or report.wants[2] > 0 then state.credit = math.min(10, state.credit + 1 / 9) end
    elseif others_interactive then
      state.credit = state.credit - 1
    end
    if state.probing then
      state.prober = me
      break
    end
  end
  mine.waits = { math.max(0, report.wants[1] - #grants), math.max(0, wants - math.max(#grants, report.wants[1])) }
  if #given > 0 then mine.given, mine.given_seq = given, report.seq end
end

-- What it may hold without this state: in the end its share, of what the others do
-- not have for theirs. At once, what it has or, if that is more, an even part of half
-- of what is left, but a twentieth of its share at least (of 10, 1); that is kept for it.
local share, ready = report.share, report.ready
if now >= state.trust then
  share, ready = shared_out / replicas, 0
  if share >= 1 then share = math.floor(share) end
  share = math.max(0, math.min(share, shared_out - others))
  if sharing and state.strict then
    ready = math.max(share >= 10 and 1 or 0, math.floor(share / 20), math.floor(left() / 2 / replicas))
    ready = math.floor(math.max(0, math.min(ready, share, mine.out + (by_owner[me] or 0) + free())))
  end
  mine.share, mine.ready = math.max(mine.share, share), math.max(mine.ready, ready)
end

save()
-- Where that is not allowed, the replicas hear of it by their next reports.
if news then redis.pcall('PUBLISH', KEYS[1], state.epoch) end

local next, _, expected = earliest()
next = next or expected
local available = 0
if now >= state.paused and now >= state.trust then available = math.max(0, left()) end
return answer(now < state.trust and 'learning' or 'ok', {
  epoch = state.epoch,
  era = state.era,
  released = state.released,
  grants = table.concat(grants, ' '),
  again = math.ceil(again),
  next = next and math.ceil(math.max(0, next - now)) or -1,
  paused = math.max(0, math.ceil(state.paused - now)),
  learning = math.max(0, math.ceil(state.trust - now)),
  probing = state.probing,
  limit = limit_now(),
  capacity = burst > 0 and burst or limit_now(),
  available = available,
  held = math.ceil(burst > 0 and out or held + extra),
  quota = limit,
  window = window,
  burst = burst,
  replicas = replicas,
  active = active,
  share = share,
  ready = ready,
})
