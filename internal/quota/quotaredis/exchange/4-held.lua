-- What is held ----------------------------------------------------------------

if fresh and report.first == 'slow' and burst == 0 then
  local n = limit - math.max(1, math.floor(limit / 10))
  for i = 1, n do insert(now + window * i / n, '', 1) end
end
for _, after in ipairs(state.strict and report.releases or report.lost) do insert(now + after, me, 1) end
for _, e in ipairs(report.lent or {}) do insert(now + e.after + (state.strict and hold or 0), LENT .. me, e.permits) end
if #state.at > 0 and state.at[1] <= now then
  state.released = state.released + keep(function(i) return state.at[i] > now end)
end

-- owner_of returns the owner of the i-th permits, lent or not.
local function owner_of(i)
  local owner = state.owner[i]
  if string.sub(owner, 1, #LENT) == LENT then return string.sub(owner, #LENT + 1), true end
  return owner, false
end

local queued, by_owner, out, all_lent = 0, {}, 0, 0
for i = 1, #state.at do
  local owner, lent = owner_of(i)
  queued = queued + state.count[i]
  by_owner[owner] = (by_owner[owner] or 0) + state.count[i]
  if lent then all_lent = all_lent + state.count[i] end
end
local shared_out = math.max(1, math.floor(learned())) -- divided into shares
local away = ghosts > 0 and math.max(0, shared_out - state.known_share) or 0 -- shares of the ghosts
local others = away -- shares of all but me
local spare = {} -- by owner: releases that others may use, if not all
local seen = {} -- by owner that is not away: since when
local extra, reserve, live, active, others_interactive, batch_waits = away, 0, #ids, 0, false, false
for _, id in ipairs(ids) do
  local r = state.replicas[id]
  local silent = now - r.seen > report.alive
  if silent and now - r.seen > hold + report.lost_hold then r.out = 0 end
  out = out + r.out
  local has = r.out + (by_owner[id] or 0)
  if id ~= me then others = others + r.share end
  if silent or r.fallback then
    -- It may be using its share, whatever it last reported.
    live = live - 1
    away = away + r.share
    extra = extra + math.max(0, r.share - has)
    spare[id] = math.max(0, math.floor(has - r.share))
    r.waits = { 0, 0 }
  elseif id ~= me then
    -- It may be cut off, and then uses all its permits again.
    reserve = reserve + math.max(0, r.ready - has)
    seen[id] = r.seen
    if r.waits[1] + r.waits[2] > 0 then active = active + 1 end
    others_interactive = others_interactive or r.waits[1] > 0
    batch_waits = batch_waits or r.waits[2] > 0
  end
end
-- Most silent replicas have crashed: half of an even part is left to the others, even if
-- the silent ones have shares of all of the quota.
local most = shared_out * (1 - live / 2 / replicas)
away, extra = math.min(away, most), math.min(extra, most)
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
    -- Replicas that are away use their shares up.
    level = math.max(size, level - passed * away / hold)
  else
    level = math.max(level, math.min(size - unanswered, level + passed * rate))
  end
  state.level = math.min(level, burst)
  state.refilled = now
end

-- left is how many could be sent at once, and free how many of these this replica may have.
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


-- A replica reserves what it will lend, so that two do not gather permits for leases
-- that together are too large. lend_after: when there will be room for what it wants if no
-- lease ends early. Reservations of others may be given up.
local lend_after = 0
do
  local most = burst > 0 and burst or limit_now()
  local room = math.min(most, math.max(1, math.floor(report.max_leased * most + 1e-9))) - all_lent
  local missing = report.lend - room
  if report.lend > 0 and missing > 0 then
    for i = 1, #state.at do
      if string.sub(state.owner[i], 1, #LENT) == LENT then missing = missing - state.count[i] end
      if missing <= 0 then
        lend_after = math.floor(state.at[i] - now)
        break
      end
    end
  end
  for _, id in ipairs(ids) do
    local r = state.replicas[id]
    if id ~= me and now - r.seen <= report.alive then room = room - (r.lend or 0) end
  end
  if sharing and not report.bye and now >= state.trust and report.lend <= room then mine.lend = report.lend end
end
