-- Asks for so many numbers once, then ends: prefix, how many. Slower than the other scripts, as it looks at answers.
local prefix, count
local at, answered = -1, 0

function init(args)
  prefix = args[1]
  count = tonumber(args[2])
end

function request()
  if at < count - 1 then at = at + 1 end
  return wrk.format("GET", prefix .. at)
end

function response()
  answered = answered + 1
  -- Not wrk.thread:stop(): wrk would then sleep until its time is over. The 64: answers may come in another order.
  if answered >= count + 64 then os.exit(0) end
end
