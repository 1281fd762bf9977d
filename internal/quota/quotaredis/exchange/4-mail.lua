
-- Messages between replicas ----------------------------------------------------
--
-- mail: by id, the messages for each replica. A message stays until the next report shows
-- that the reply with it has arrived.

local MOST_MAIL = 100 -- for one replica
state.mail = state.mail or {}
for id in pairs(state.mail) do
  if not state.replicas[id] then state.mail[id] = nil end
end
local mine_mail, bounced, unknown, called = {}, {}, {}, {}

-- known reports whether the replica with a tag may have lent permits. A young state may not
-- know all leases.
local function known(tag)
  if now - state.born <= LONGEST_LOAN or state.past[tag] then return true end
  for id in pairs(state.replicas) do
    if tag_of(id) == tag then return true end
  end
  for i = 1, #state.owner do
    if string.sub(state.owner[i], 1, #LENT) == LENT and tag_of(state.owner[i]) == tag then return true end
  end
  return false
end
for _, m in ipairs(state.mail[me] or {}) do
  if not (m.seq and m.seq <= report.acked) then
    m.seq = report.seq
    mine_mail[#mine_mail + 1] = m
  end
end
if state.replicas[me] then state.mail[me] = #mine_mail > 0 and mine_mail or nil end
for _, m in ipairs(report.mail or {}) do
  local to
  for _, id in ipairs(ids) do
    local r = state.replicas[id]
    if id ~= me and tag_of(id) == m.to and not r.fallback and now - r.seen <= report.alive then to = id end
  end
  local box, twice = to and state.mail[to] or {}, false
  for _, other in ipairs(box) do twice = twice or other.token == m.token and other.result == m.result end
  if not to and m.result == '' and not known(m.to) then
    unknown[#unknown + 1] = m.token
  elseif not to or #box >= MOST_MAIL then
    bounced[#bounced + 1] = m.token
  elseif not twice then
    box[#box + 1] = m
    state.mail[to], called[#called + 1] = box, to
  end
end
