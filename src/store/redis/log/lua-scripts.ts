import { createHash } from 'node:crypto';
import type { RedisArgument, RedisClient } from '../connection/ioredis-client.js';

/** The number of replicas to wait for, and the time limit in milliseconds. The wait blocks the connection. */
export interface ReplicaWait {
  readonly replicas: number;
  readonly timeout: number;
}

interface Pipeline {
  call(command: string, ...args: RedisArgument[]): Pipeline;
  exec(): Promise<[error: Error | null, reply: unknown][] | null>;
}

/** A script that runs atomically in Redis, on one key. */
export class RedisScript {
  readonly #source: string;
  readonly #hash: string;

  constructor(source: string) {
    this.#source = source;
    this.#hash = createHash('sha1').update(source).digest('hex');
  }

  /** @throws the errors of the client. The caller sets the deadline and provides a ready client. */
  async run(client: RedisClient, key: string, ...args: RedisArgument[]): Promise<unknown> {
    try {
      return await client.call('EVALSHA', this.#hash, 1, key, ...args);
    } catch (error) {
      // The server was restarted, or this node has not loaded the script yet.
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
      return await client.call('EVAL', this.#source, 1, key, ...args);
    }
  }

  /**
   * Runs the script, then `WAIT` on the same connection and, in a cluster, on the same node.
   *
   * @returns the script's result, and the number of replicas that have what it wrote.
   */
  async runAndWait(
    client: RedisClient,
    key: string,
    { replicas, timeout }: ReplicaWait,
    ...args: RedisArgument[]
  ): Promise<[reply: unknown, replicas: number]> {
    const pipeline = (client as RedisClient & { pipeline(): Pipeline }).pipeline();
    const replies = await pipeline
      .call('EVAL', this.#source, 1, key, ...args)
      .call('WAIT', replicas, timeout)
      .exec();
    const [ran, waited] = replies ?? [];
    if (!ran || ran[0]) throw ran?.[0] ?? new Error('the connection was lost');
    // `WAIT` may be forbidden, or the connection lost, but the record is written.
    return [ran[1], waited && !waited[0] ? Number(waited[1]) : 0];
  }
}

/*
 * The scripts run in Lua 5.1 inside Redis 5 or later. They return lists of strings, because numbers and maps differ
 * between the versions of the protocol. A position is a double: `%.0f` keeps all its digits.
 *
 * The key holds a stream whose ids are `<position>-0`. It is intact if its last entry is a record of hotpath and has
 * the last generated id. Otherwise another program has written to it, and it has no epoch.
 */
const stream = `
local key = KEYS[1]
local exists = redis.call('EXISTS', key) == 1
local last, epoch, first = 0, '', 0
local usable = true -- another record can follow the last id
if exists then
  local info, field = redis.call('XINFO', 'STREAM', key), {}
  for i = 1, #info, 2 do field[info[i]] = info[i + 1] end
  local given = field['last-generated-id']
  local digits = string.match(given, '^(%d+)%-')
  usable = #digits <= 15
  if usable then
    last = tonumber(digits)
    local entry = field['last-entry']
    if entry and entry[1] == given and string.match(given, '%-0$') and entry[2][1] == 'r' then
      epoch = string.match(entry[2][2], '^%d+ ([%w_-]+%.%w*) ') or ''
    end
    if field['first-entry'] then first = tonumber(string.match(field['first-entry'][1], '^(%d+)')) end
  end
end
local function number(n) return string.format('%.0f', n) end
local function milliseconds()
  local time = redis.call('TIME')
  return number(time[1] * 1000 + math.floor(time[2] / 1000))
end
`;

/** Identifies the server process and its replication history; '' if the access rules forbid asking. */
const server = `
local function ask(section, name)
  local info = redis.pcall('INFO', section)
  if type(info) ~= 'string' then return '' end
  return string.match(info, name .. ':(%w+)') or ''
end
local function server()
  return string.sub(ask('server', 'run_id'), 1, 10) .. string.sub(ask('replication', 'master_replid'), 1, 10)
end
`;

/** One command, so that the stream always has an expiry. */
const write = `
local function add(position, text, length)
  redis.call('XADD', key, 'MAXLEN', '~', length, number(position) .. '-0', 'r', text)
end
local function begin(position, random, length)
  if not usable then redis.call('DEL', key) end
  local name = random .. '.' .. server()
  local text = '1 ' .. name .. ' e ' .. milliseconds() .. ' '
  add(position, text, length)
  return name, text
end
`;

/**
 * Reads the state of the stream. ARGV: the position that the caller has applied, lifetime of the key in ms.
 *
 * @returns last position, epoch, first position, text of the record at the caller's position, name of the server, its
 * role, its clock in ms. Epoch and text are '' if there is none.
 */
export const stateScript = new RedisScript(`${stream}${server}
local record = ''
if exists and usable then
  local entry = redis.call('XRANGE', key, ARGV[1] .. '-0', ARGV[1] .. '-0')[1]
  if entry then record = entry[2][2] or '' end
  -- Not on every call: it is a write, which every replica repeats.
  if redis.call('PTTL', key) < ARGV[2] * 0.9 then redis.pcall('PEXPIRE', key, ARGV[2]) end
end
return { number(last), epoch, number(first), record, server(), ask('replication', 'role'), milliseconds() }
`);

/** Matches any epoch, or none. No epoch has this name. */
export const ANY_EPOCH = '*';

/**
 * Begins a new epoch, unless another instance did. ARGV: the epoch that the caller found, the highest position it
 * knows, random characters, maximum number of records, lifetime in ms. Without an epoch the first is ''; `*` begins one
 * in any case.
 *
 * @returns position and text of the record that begins the epoch, or nothing.
 */
export const beginScript = new RedisScript(`${stream}${server}${write}
if ARGV[1] ~= '${ANY_EPOCH}' and epoch ~= ARGV[1] then return {} end
local position = math.max(last, tonumber(ARGV[2])) + 1
local _, text = begin(position, ARGV[3], ARGV[4])
redis.call('PEXPIRE', key, ARGV[5])
return { number(position), text }
`);

/**
 * Appends records. ARGV: the epoch that the caller follows, the highest position it knows, random characters,
 * maximum number of records, lifetime in ms. Two texts follow for each record: before and after its time.
 *
 * @returns `ok`, position of the first record, epoch. Or `new` and the same, if the stream was missing on the
 * followed server, so that an epoch began with these records. Or the reason for writing nothing. `epoch`: another epoch
 * is in force, or this is another server. `behind`: the stream ends before the last record that the caller knows.
 */
export const appendScript = new RedisScript(`${stream}${server}${write}
local answer, position, name = 'ok', last + 1, server()
if name ~= '' and string.sub(ARGV[1], -#name - 1) ~= '.' .. name then
  return { 'epoch' }
elseif not exists then
  position = tonumber(ARGV[2]) + 1
  epoch = begin(position, ARGV[3], ARGV[4])
  position = position + 1
  answer = 'new'
elseif epoch == '' or epoch ~= ARGV[1] then
  return { 'epoch' }
elseif last < tonumber(ARGV[2]) then
  return { 'behind' }
end
local time = milliseconds()
for i = 6, #ARGV, 2 do
  add(position + (i - 6) / 2, '1 ' .. epoch .. ' ' .. ARGV[i] .. time .. ' ' .. ARGV[i + 1], ARGV[4])
end
redis.call('PEXPIRE', key, ARGV[5])
return { answer, number(position), epoch }
`);
