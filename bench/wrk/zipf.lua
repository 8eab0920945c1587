-- Each request asks for one of so many numbers, the n-th with a probability proportional to 1/n: prefix, how many,
-- seed. The sums of the probabilities are made once; a request is a binary search in them.
local prefix, count
local sums = {}

function init(args)
  prefix = args[1]
  count = tonumber(args[2])
  math.randomseed(tonumber(args[3]))
  local sum = 0
  for n = 1, count do
    sum = sum + 1 / n
    sums[n] = sum
  end
end

function request()
  local point = math.random() * sums[count]
  local low, high = 1, count
  while low < high do
    local middle = math.floor((low + high) / 2)
    if sums[middle] < point then low = middle + 1 else high = middle end
  end
  return wrk.format("GET", prefix .. (low - 1))
end
