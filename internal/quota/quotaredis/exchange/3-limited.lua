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
  while state.learned < state.good and state.good_at + window <= now do
    state.good_at = state.good_at + window
    state.learned = math.min(state.good, state.learned + math.max(limit / 100, (state.good - state.learned) / 2))
  end
  while state.learned_at + 3 * window <= now do
    state.learned_at = state.learned_at + 3 * window
    state.learned = state.learned + limit / 100
  end
  if state.learned >= limit then state.learned = 0 end
end
local function learned() return state.learned > 0 and math.min(state.learned, limit) or limit end

-- lower lowers the limit after a 429. A 429 that came while next to nothing was being sent
-- shows little about the limit: it costs what was sent, which is soon regained.
local function lower()
  local waiting = #report.limited - report.unused
  for _, r in pairs(state.replicas) do waiting = waiting + r.out end
  local sent, lately = accepted + waiting, waiting
  for i = 1, #state.answered_at do
    if state.answered_at[i] > now - window / 20 then lately = lately + state.answered[i] end
  end
  local l = learned()
  if sent < l / 4 and lately <= math.max(1, l / 100) then
    state.good = math.max(state.good, l)
    state.learned = math.max(1, l - math.max(sent, limit / 100))
  else
    state.good = 0
    state.learned = math.max(1, l / 2, math.min(l, 0.95 * accepted))
  end
end

local news = false -- for the other replicas
for _, e in ipairs(report.limited) do
  local after = e.after
  if e.era == state.era then -- else the request left before the last 429 was known, and belongs to its event
    if after <= 0 then
      state.guess = math.min(LONGEST_PAUSE, math.max(LEAST_PAUSE, 2 * state.guess))
      after = state.guess
    end
    if state.limited_at == 0 or now - state.limited_at > window then
      lower()
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
  state.good_at = now
  state.level = math.min(state.level, 0)
  if after > 0 then
    after = math.min(LONGEST_PAUSE, math.max(LEAST_PAUSE, after))
    state.paused = math.max(state.paused, now + after + state.penalty)
  end
  state.probing = true
end
if state.probing and report.answered_era == state.era then
  state.probing, state.prober, state.guess = false, '', 0
  state.slow, state.last = now + window, now
end
local prober = state.replicas[state.prober]
if state.probing and (not prober or now - prober.seen > report.alive or
    state.prober == me and not (report.era == state.era and report.era_out > 0)) then
  state.prober = '' -- the probe has shown nothing
end

