-- Each request asks for the next number: prefix, first number.
local prefix, at

function init(args)
  prefix = args[1]
  at = tonumber(args[2]) - 1
end

function request()
  at = at + 1
  return wrk.format("GET", prefix .. at)
end
