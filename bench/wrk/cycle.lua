-- Each request asks for the next of so many numbers, then again from the first: prefix, how many.
local prefix, count
local at = -1

function init(args)
  prefix = args[1]
  count = tonumber(args[2])
end

function request()
  at = (at + 1) % count
  return wrk.format("GET", prefix .. at)
end
