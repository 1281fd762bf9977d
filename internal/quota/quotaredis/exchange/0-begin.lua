-- All parts but this and the last are the body of a function, so that it can be
-- called again. lost: the state is not to be read, but begun anew.
local function exchange(lost)

