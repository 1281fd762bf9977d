
end

local ok, reply = pcall(exchange, false)
if ok then return reply end
-- Something in the state is not what this version stores there, so that it is as good
-- as lost. If it was Redis that refused a command, it refuses it again.
return exchange(true)
