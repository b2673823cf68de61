-- Requests for wrk, each for another user.
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
local kind, flags, number, fixed, head
local threads = 0

function setup(thread)
  thread:set("first", threads * 100000000)
  threads = threads + 1
end

function init(args)
  kind, flags, number = args[1], tonumber(args[2]), first
  local fields = " HTTP/1.1\r\nHost: bench\r\n"
  if kind == "cdn-gzip" then fields = fields .. "Accept-Encoding: gzip\r\n" end
  if kind:sub(1, 5) == "ofrep" then fields = fields .. "X-ConfigCat-SdkId: sdk1\r\n" end
  if kind:sub(1, 3) == "cdn" or kind == "empty" then
    fixed = "GET " .. paths[kind] .. fields .. "\r\n"
  else
    head = fields .. "Content-Type: application/json\r\nContent-Length: "
  end
end

-- Concatenated by hand: wrk.format would take processor time that the servers need.
local function post(path, body)
  return "POST " .. path .. head .. #body .. "\r\n\r\n" .. body
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
    return post(path, '{"key":"' .. key .. '","user":{' .. person(number))
  elseif kind == "eval-all" then
    return post(path, '{"user":{' .. person(number))
  elseif kind == "ofrep" then
    return post(path .. key, '{"context":{' .. person(number))
  end
  return post(path, '{"context":{' .. person(number))
end

function done(summary, latency)
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"not_2xx":%d,"socket_errors":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  ))
end
