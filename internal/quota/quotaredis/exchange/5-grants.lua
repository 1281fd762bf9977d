-- What may be sent ------------------------------------------------------------

local function even() return window / math.max(1, limit_now()) end

-- pace returns when the schedule lets the next request go.
local function pace()
  local n = limit_now()
  if report.pace_always then return state.last + window / math.max(1, n - 3 - math.floor(n / 100)) end
  if now < state.slow then return state.last + even() end
  if burst > 0 or 2 * left() > n - all_lent then return now end
  local f = math.max(0, free())
  -- Permits that are out come back within the hold, too: most of them are reserved for
  -- times before state.last.
  local longest, passed = hold / math.max(1, f + queued - all_lent + out + 1), 0
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

-- earliest returns when a request might go, the release that it would wait for (nil if
-- none), and its time in the schedule. It returns nil if that is not known, or nil, true
-- and the time if a permit will be free by the next beat.
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
    local remain = {}
    for i = 1, #state.at do
      local n, owner = state.count[i], owner_of(i)
      if spare[owner] then -- the others come free for their owner itself
        n = math.min(n, remain[owner] or spare[owner])
        remain[owner] = (remain[owner] or spare[owner]) - n
      end
      swallowed = swallowed - n
      if n > 0 and swallowed <= 0 then
        release = i
        break
      end
    end
    if not release then return nil end
    t = state.at[release]
    local reported = seen[owner_of(release)]
    if reported and t > reported + report.alive then
      -- If its owner is cut off now, it uses the permit again itself. If not, it will
      -- have reported again before the next beat of this replica.
      return nil, true, math.max(t, pace())
    end
  end
  local due = pace()
  return math.max(t, due), release, due
end

local BATCH_TURN = 10 -- as in package fairqueue
local MOST_CREDIT = 10 -- turns of batch priority that may follow one another
local grants, lag = {}, report.pace_always and even() or window / 20
local given, own = {}, {} -- own: 1 for a release of this replica's own, 0 for another grant
local again = -1
local wants = report.wants[1] + report.wants[2]
-- headers_bind reports whether it is the headers that block requests.
local function headers_bind()
  return burst == 0 and now < state.header_until and math.floor(learned()) - held - extra - reserve >= 1
end
local function refuse(t)
  if headers_bind() then t = math.min(t, state.header_until) end
  again = math.max(t, now + 1000) - now
end

if sharing and not report.bye and wants > 0 and now >= state.trust then
  active = active + 1
  -- A replica without permits may reserve its next one as far ahead as is needed for one
  -- permit each for all that wait. It may reserve further ones only for times so close that
  -- they are not taken from replicas that ask a moment later.
  local first = now + math.max(report.horizon, 2 * active * even())
  -- With the window of the headers, the schedule is another.
  if headers_bind() then first = math.min(first, state.header_until) end
  local further = now + report.horizon / active
  for i = 1, wants do
    local interactive = i <= report.wants[1]
    if not interactive and others_interactive and state.credit < 1 then
      refuse(now + report.beat)
      break
    end
    local t, release, due = earliest()
    if not t then
      state.blind = not release
      if headers_bind() then refuse(state.header_until) end
      break
    end
    local until_ = (report.unused + #grants == 0) and first or further
    if t > until_ or now < state.paused then
      -- A replica with permits asks again once it has used them.
      refuse(math.max(now < state.paused and t or t - (until_ - now), given[1] or report.unused > 0 and now + report.beat or 0))
      break
    end
    state.last = due < t - lag and t or due
    own[#own + 1] = 0
    if release then
      local owner, lent = owner_of(release)
      if owner == me then own[#own] = 1 end
      if lent then all_lent = all_lent - 1 end
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
      if batch_waits or report.wants[2] > 0 then state.credit = math.min(MOST_CREDIT, state.credit + 1 / (BATCH_TURN - 1)) end
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

-- The permits that the replica may hold without this state. In the end: its share of what
-- the others do not have as theirs. At once: what it has or, if that is more, an even part
-- of half of what is left, but at least a twentieth of its share (of 10, 1); these are kept
-- for it.
local even_share = shared_out / replicas
if even_share >= 1 then even_share = math.floor(even_share) end
local left_to_me = math.max(0, shared_out - others)
local share, ready = report.share, report.ready
if now >= state.trust then
  share, ready = math.min(even_share, left_to_me), 0
  if sharing and state.strict then
    ready = math.max(share >= 10 and 1 or 0, math.floor(share / 20), math.floor(left() / 2 / replicas))
    ready = math.floor(math.max(0, math.min(ready, share, mine.out + (by_owner[me] or 0) + free())))
  end
  mine.share, mine.ready = math.max(mine.share, share), math.max(mine.ready, ready)
else
  -- Until it is known what is held, shares only shrink: to even parts, and those of new
  -- replicas to what the others leave.
  share = math.min(share, even_share)
  if not old then share = math.min(share, left_to_me) end
end

save()
-- Where publishing is not allowed, the replicas learn of it by their next reports.
if news then redis.pcall('PUBLISH', KEYS[1], state.epoch) end
for _, id in ipairs(called) do redis.pcall('PUBLISH', KEYS[1], 'to ' .. id) end

local next, _, expected = earliest()
next = next or expected
local available = 0
if now >= state.paused and now >= state.trust then available = math.max(0, left()) end
return answer(now < state.trust and 'learning' or 'ok', {
  epoch = state.epoch,
  era = state.era,
  released = state.released,
  grants = table.concat(grants, ' '),
  own = table.concat(own, ' '),
  again = math.ceil(again),
  next = next and math.ceil(math.max(0, next - now)) or -1,
  paused = math.max(0, math.ceil(state.paused - now)),
  learning = math.max(0, math.ceil(state.trust - now)),
  probing = state.probing,
  limit = limit_now(),
  capacity = burst > 0 and burst or limit_now(),
  available = available,
  held = math.ceil(burst > 0 and out or held + extra),
  lent = all_lent,
  lend = mine.lend,
  lend_after = math.max(0, lend_after),
  mail = #mine_mail > 0 and mine_mail or nil,
  bounced = table.concat(bounced, ' '),
  unknown = table.concat(unknown, ' '),
  quota = limit,
  window = window,
  burst = burst,
  replicas = replicas,
  active = active,
  share = share,
  ready = ready,
})
