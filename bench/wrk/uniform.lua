-- Each request asks for one of so many numbers, all alike: prefix, how many, seed.
local prefix, count

function init(args)
  prefix = args[1]
  count = tonumber(args[2])
  math.randomseed(tonumber(args[3]))
end

function request()
  return wrk.format("GET", prefix .. math.random(0, count - 1))
end
