-- The replicas ---------------------------------------------------------------

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

-- keep drops the releases for which keeps is false, and returns how many permits these were.
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

local unanswered = 0 -- since the last exchange: a bucket does not refill their room
for _, r in pairs(state.replicas) do unanswered = unanswered + r.out end
for i = 1, #state.count do unanswered = unanswered + state.count[i] end

-- If the last reply did not arrive, nobody uses its grants.
local returned = report.returned -- to a bucket
local lost = mine and mine.given and mine.given_seq > report.acked and mine.given or {}
if report.full then keep(function(i) return state.owner[i] ~= me and state.owner[i] ~= LENT .. me end) end
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
  share = report.share, ready = report.ready, old = old, lend = 0,
}
state.replicas[me] = mine
state.past = state.past or {}
for tag, at in pairs(state.past) do
  if now - at > LONGEST_LOAN then state.past[tag] = nil end
end
local function tag_of(id) return string.match(id, '[^/]*$') end
local function forget(id)
  state.replicas[id] = nil
  state.past[tag_of(id)] = now
end
if report.bye then forget(me) end

local limit, window, burst, least_burst = report.limit, report.window, report.burst, math.huge
local ids = {} -- sorted, so that every Redis counts alike
local place = string.match(me, '^(.+)/')
for id, r in pairs(state.replicas) do
  if now - r.seen > 10 * window then
    forget(id)
  elseif place and id ~= me and now - r.seen > report.alive and string.match(id, '^(.+)/') == place then
    -- This replica has taken its place. Its requests under way may still arrive.
    forget(id)
    if r.out > 0 then insert(now + report.lost_hold + (state.strict and report.hold or 0), id, r.out) end
  else
    ids[#ids + 1] = id
    limit, window, burst = math.min(limit, r.limit), math.max(window, r.window), math.min(burst, r.burst)
    if r.burst > 0 then least_burst = math.min(least_burst, r.burst) end
  end
end
table.sort(ids)
if now - state.born > 10 * window then state.peers = 0 end
local ghosts = math.max(0, state.peers - state.known) -- that have not reported to this state
local replicas = math.max(1, #ids + ghosts)

local function save()
  local lasts = 20 * window + report.lost_hold
  if #state.at > 0 then lasts = math.max(lasts, state.at[#state.at] - now + window) end -- loans may last long
  redis.call('SET', KEYS[1], cmsgpack.pack(state), 'PX', math.ceil(lasts / 1000))
end

if fresh then
  state.strict = burst == 0
elseif state.strict ~= (burst == 0) and (burst == 0 or now >= state.trust and ghosts == 0) then
  -- It is not known when permits of the other kind come free.
  if report.epoch == '' then state.replicas[me] = nil end -- it is not one of the earlier ones
  begin_anew(state.paused, burst == 0 and report.hold or 0)
  state.strict = burst == 0
  save()
  return answer('stale', {})
end
if state.strict then limit, burst = math.min(limit, least_burst), 0 end
local hold = window * 1.005

