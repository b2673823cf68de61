-- Requests of distinct users, for wrk: no two requests of a run are for the same one.
--
--   wrk … -s distinct.lua URL -- KIND FLAGS      KIND: eval, eval-all, ofrep, ofrep-all, cdn, cdn-gzip, empty

local countries = { "DE", "FR", "US", "GB", "JP", "BR", "IN", "ZA", "SE", "PL", "ES", "IT", "NL", "AU", "CA", "MX" }
local plans = { "free", "team", "business", "enterprise" }
local paths = {
  ["eval"] = "/api/sdk1/eval",
  ["eval-all"] = "/api/sdk1/eval-all",
  ["ofrep"] = "/ofrep/v1/evaluate/flags/",
  ["ofrep-all"] = "/ofrep/v1/evaluate/flags",
  ["cdn"] = "/configuration-files/configcat-proxy/sdk1/config_v6.json",
  ["cdn-gzip"] = "/configuration-files/configcat-proxy/sdk1/config_v6.json",
  ["empty"] = "/empty",
}
local kind, flags, number, fixed
local threads = 0

function setup(thread)
  thread:set("first", threads * 100000000)
  threads = threads + 1
end

function init(args)
  kind, flags, number = args[1], tonumber(args[2]), first
  wrk.headers["Host"] = "bench"
  if kind == "cdn-gzip" then wrk.headers["Accept-Encoding"] = "gzip" end
  if kind:sub(1, 5) == "ofrep" then wrk.headers["X-ConfigCat-SdkId"] = "sdk1" end
  if kind:sub(1, 3) == "cdn" or kind == "empty" then
    fixed = wrk.format("GET", paths[kind])
  else
    wrk.headers["Content-Type"] = "application/json"
  end
end

local function person(n)
  local domain = n % 20 == 0 and "com" or "org"
  return '"Identifier":"user-' .. n .. '","Email":"user-' .. n .. "@example." .. domain
    .. '","Country":"' .. countries[n % #countries + 1] .. '","Plan":"' .. plans[n % #plans + 1] .. '"}}'
end

function request()
  if fixed then return fixed end
  number = number + 1
  local path = paths[kind]
  local key = string.format("flag%05d", number % flags)
  if kind == "eval" then
    return wrk.format("POST", path, nil, '{"key":"' .. key .. '","user":{' .. person(number))
  elseif kind == "eval-all" then
    return wrk.format("POST", path, nil, '{"user":{' .. person(number))
  elseif kind == "ofrep" then
    return wrk.format("POST", path .. key, nil, '{"context":{' .. person(number))
  end
  return wrk.format("POST", path, nil, '{"context":{' .. person(number))
end

function done(summary, latency)
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"not_2xx":%d,"socket_errors":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  ))
end
