"""The Lua scripts that Redis runs, each as one step that no other command interrupts.

Keys of one SDK, all in one slot of a cluster:
    <sha1>                  the entry in the official format, which ConfigCat SDKs and ConfigCat Proxy read and write
    <name>:{<sha1>}         hash: v version, etag, t fetch time, at stored at (both ms), by node, tag, tags, credit
    <name>:{<sha1>}:poller  node that polls, with an expiry

An entry whose ETag is not that of the hash was written by another program.  The first ``LOOK`` that sees it gives it
the next version, unless it was fetched earlier than the config that it has overwritten.
"""

from typing import Final

_PRELUDE: Final = """
local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local function text(number) return string.format('%.0f', number) end
-- Fetch time and ETag; nil for what is no entry.
local function head(key)
  local bytes = redis.call('GETRANGE', key, 0, 16399)
  if bytes == '' then return '', nil end
  local time, etag = string.match(bytes, '^(%d+)\\n([^\\n]+)\\n')
  if time == nil or #time > 15 then return nil, nil end
  return tonumber(time), etag
end
local function remember(key, tag)
  if tag == '' then return end
  local tags = (redis.call('HGET', key, 'tags') or '')
  local kept = {}
  for each in string.gmatch(tags, '%S+') do if each ~= tag then kept[#kept + 1] = each end end
  kept[#kept + 1] = tag
  while #kept > 32 do table.remove(kept, 1) end
  redis.call('HSET', key, 'tags', table.concat(kept, ' '))
end
"""

LOOK: Final = (
    _PRELUDE
    + """
-- KEYS entry, hash, poller   ARGV node, lease ms (0: none), own version, own etag, own fetch time, tags wanted
-- -> version (-1: no entry, -2: damaged), etag, time, accepted, stale, ahead ms, age ms, poller, body (''), tags (''),
--    credit
local now = clock()
local poller = redis.call('GET', KEYS[3]) or ''
local lease = tonumber(ARGV[2])
if lease > 0 and (poller == '' or poller == ARGV[1]) then
  redis.call('SET', KEYS[3], ARGV[1], 'PX', lease)
  poller = ARGV[1]
end
local time, etag = head(KEYS[1])
local h = redis.call('HMGET', KEYS[2], 'v', 'etag', 't', 'at', 'by', 'credit')
local tags = ''
if ARGV[6] == '1' then tags = redis.call('HGET', KEYS[2], 'tags') or '' end
if time == '' then return {-1, '', '0', 0, 0, '0', '0', poller, '', tags, ''} end
if time == nil then return {-2, '', '0', 0, 0, '0', '0', poller, '', tags, ''} end
local v, known, t, at, by = tonumber(h[1] or '0'), h[2] or '', tonumber(h[3] or '0'), tonumber(h[4] or '0'), h[5] or ''
local own = tonumber(ARGV[3])
local ahead = 0
if time > now + 60000 then ahead = time - now end
if time > now then time = now end
if v == 0 and own > 0 then                   -- the hash was lost; this node has seen a later version than nothing
  v, known, t, at, by = own, ARGV[4], tonumber(ARGV[5]), now, ''
  if known == etag then redis.call('HSET', KEYS[2], 'v', v, 'etag', known, 't', text(t), 'at', text(at), 'by', '') end
end
local stale = 0
if etag == ARGV[4] and own > v then          -- an older hash came back, as after a failover
  v = own
  redis.call('HSET', KEYS[2], 'v', v)
end
if known ~= etag then
  if time >= t then
    v, t, at, by = math.max(v, own) + 1, time, now, ''
    redis.call('HSET', KEYS[2], 'v', v, 'etag', etag, 't', text(t), 'at', text(at), 'by', '', 'credit', '')
    h[6] = ''
  else
    stale = 1
  end
elseif time > t then
  t = time
end
local body = ''
if stale == 0 and etag ~= ARGV[4] and v > own then
  body = redis.call('GET', KEYS[1])
  tags = redis.call('HGET', KEYS[2], 'tags') or ''
end
local accepted = 0
if by ~= '' then accepted = 1 end
return {v, etag, text(t), accepted, stale, text(ahead), text(now - at), poller, body, tags, h[6] or ''}
"""
)

PUT: Final = (
    _PRELUDE
    + """
-- KEYS entry, hash   ARGV base version, base etag, own version, fetch time, etag, body, tag, node, channel, key, credit
-- -> 1 stored or 0 refused, version, time
local now = clock()
local time, etag = head(KEYS[1])
local h = redis.call('HMGET', KEYS[2], 'v', 'etag', 'credit')
local v = tonumber(h[1] or '0')
local fetched = math.min(tonumber(ARGV[4]), now)
if etag ~= nil and etag ~= ARGV[5] and (v ~= tonumber(ARGV[1]) or etag ~= ARGV[2]) then return {0, v, '0'} end
if etag == ARGV[5] and h[2] == etag and v > 0 then           -- another node was faster with the same config
  remember(KEYS[2], ARGV[7])
  if ARGV[11] ~= '' and (h[3] or '') == '' then redis.call('HSET', KEYS[2], 'credit', ARGV[11]) end
  if tonumber(ARGV[3]) > v then
    v = tonumber(ARGV[3])
    redis.call('HSET', KEYS[2], 'v', v)
  end
  return {1, v, text(math.min(time, now))}
end
v = math.max(v, tonumber(ARGV[1]), tonumber(ARGV[3])) + 1
redis.call('SET', KEYS[1], text(fetched) .. '\\n' .. ARGV[5] .. '\\n' .. ARGV[6])
redis.call('HSET', KEYS[2], 'v', v, 'etag', ARGV[5], 't', text(fetched), 'at', text(now), 'by', ARGV[8], 'tag', ARGV[7],
  'credit', ARGV[11])
remember(KEYS[2], ARGV[7])
redis.call('PUBLISH', ARGV[9], ARGV[10])
return {1, v, text(fetched)}
"""
)

TOUCH: Final = (
    _PRELUDE
    + """
-- KEYS entry, hash   ARGV etag   -> version, time; version 0: another entry is stored
local now = clock()
local time, etag = head(KEYS[1])
if etag == nil or etag ~= ARGV[1] then return {0, '0'} end
local old = redis.call('GETRANGE', KEYS[1], 0, 15)
local digits = string.match(old, '^%d+')
if #digits == #text(now) then
  redis.call('SETRANGE', KEYS[1], 0, text(now))
else
  redis.call('SET', KEYS[1], text(now) .. string.sub(redis.call('GET', KEYS[1]), #digits + 1))
end
local h = redis.call('HMGET', KEYS[2], 'v', 'etag')
if h[2] == etag then redis.call('HSET', KEYS[2], 't', text(now)) end
return {tonumber(h[1] or '0'), text(now)}
"""
)

PEEK: Final = (
    _PRELUDE
    + """
-- KEYS entry, hash   -> fetch time and etag of the entry ('': none that can be used), version and etag of the hash
local time, etag = head(KEYS[1])
local h = redis.call('HMGET', KEYS[2], 'v', 'etag')
if etag == nil then return {'', '', tonumber(h[1] or '0'), h[2] or ''} end
return {text(time), etag, tonumber(h[1] or '0'), h[2] or ''}
"""
)

MIRROR: Final = (
    _PRELUDE
    + """
-- KEYS entry, hash   ARGV version, fetch time, etag, body, tag, node, channel, key, credit
-- -> 1 stored or 0, since a later version is stored; that version
local now = clock()
local h = redis.call('HMGET', KEYS[2], 'v', 'etag')
local v = tonumber(h[1] or '0')
if v > tonumber(ARGV[1]) then return {0, v} end
local fetched = math.min(tonumber(ARGV[2]), now)
redis.call('SET', KEYS[1], text(fetched) .. '\\n' .. ARGV[3] .. '\\n' .. ARGV[4])
redis.call('HSET', KEYS[2], 'v', ARGV[1], 'etag', ARGV[3], 't', text(fetched), 'at', text(now), 'by', ARGV[6],
  'tag', ARGV[5], 'credit', ARGV[9])
remember(KEYS[2], ARGV[5])
redis.call('PUBLISH', ARGV[7], ARGV[8])
return {1, ARGV[1]}
"""
)

ANNOUNCE: Final = """
-- KEYS entry   ARGV channel
redis.call('PUBLISH', ARGV[1], KEYS[1])
return 0
"""

GIVE_UP: Final = """
-- KEYS poller   ARGV node
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
"""

MEET: Final = """
-- KEYS nodes (hash: node -> ms of its last report, line feed, report)   ARGV node, report ('': leave), ms of validity
-- -> now, the report of this name before, then node, report, node, report ...
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local all, found = redis.call('HGETALL', KEYS[1]), {string.format('%.0f', now), ''}
for i = 1, #all, 2 do
  local at = tonumber(string.match(all[i + 1], '^(%d+)\\n') or '0')
  if all[i] == ARGV[1] then
    found[2] = all[i + 1]
  elseif now - at > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    found[#found + 1] = all[i]
    found[#found + 1] = all[i + 1]
  end
end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  local own = string.format('%.0f', now) .. '\\n' .. ARGV[2]
  redis.call('HSET', KEYS[1], ARGV[1], own)
  found[#found + 1] = ARGV[1]
  found[#found + 1] = own
end
return found
"""
