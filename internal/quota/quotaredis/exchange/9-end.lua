
end

local ok, reply = pcall(exchange, false)
if ok then return reply end
-- The state has a value that this version does not store there, so it counts as lost. If
-- Redis has refused a command, it will refuse it again.
return exchange(true)
