-- All parts except this one and the last are the body of a function, so that it can be
-- called again. lost: the state is not read, but begun anew.
local function exchange(lost)

