-- Reports of requests that gateways have let pass, and questions for more. The generic cell rate algorithm of
-- policies/gcra.py, in whole microseconds of the server's own clock: gateways' clocks need not agree.
-- KEYS[i]: one client of one limit. ARGV, four for each: passed, wanted, microseconds per request, microseconds of burst.
-- Answers two numbers for each: how many microseconds the client is ahead, and how many of the wanted it may have.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {}
for i, key in ipairs(KEYS) do
  local passed, wanted = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
  local emission, tolerance = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local full_at = math.max(tonumber(redis.call('GET', key) or 0), now) + passed * emission
  local room = math.floor((now + tolerance - full_at) / emission + 0.000001)
  local granted = math.max(0, math.min(wanted, room))
  -- What too many gateways have let pass at once is missing afterwards, but not for ever.
  full_at = math.min(full_at + granted * emission, now + 2 * tolerance)
  if passed + granted > 0 then
    redis.call('SET', key, string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1000)
  end
  answer[2 * i - 1] = math.floor(full_at - now)
  answer[2 * i] = granted
end
return answer
