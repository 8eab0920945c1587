// node:http and ioredis with the minimum of a cache in Redis. The key has a bounded length. The value contains its
// fields and is verified. Each response has its header lines.
import { hash, randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { crc32 } from 'node:zlib';
import { Redis } from 'ioredis';
import { readReference, serve, settings } from './settings.mjs';

interface Fields {
  readonly key: string;
  readonly storedAt: number;
  readonly headers: string[];
}

/** Headers that differ from one response to the next. */
const OWN = new Set(['age', 'x-request-id', 'x-response-time', 'server-timing', 'content-length']);
/** CRC-32 of the rest, and the length of the fields. Bytes. */
const HEAD = 8;

const redis = new Redis(settings.redis as string);
const { status, headers, body } = readReference();
const bytes = Buffer.from(body, 'base64');
const lines = headers.filter(([name]) => !OWN.has(name.toLowerCase())).flat();

serve(async (req, res) => {
  const startedAt = performance.now();
  const key = `GET http://${req.headers.host}${req.url}`;
  const name = `least:${hash('sha256', key, 'base64url')}`;
  const frame = (await redis.getBuffer(name)) ?? (await store(name, key));
  const { fields, content } = read(frame, key);
  const elapsed = (performance.now() - startedAt).toFixed(3);
  res.writeHead(status, [
    ...fields.headers,
    'Age',
    String(Math.floor((Date.now() - fields.storedAt) / 1000)),
    'X-Request-Id',
    randomUUID(),
    'X-Response-Time',
    `${elapsed}ms`,
    'Server-Timing',
    `total;dur=${elapsed}, cache;desc=HIT`,
    'Content-Length',
    String(content.length),
  ]);
  res.end(content);
});

async function store(name: string, key: string): Promise<Buffer> {
  const fields = Buffer.from(JSON.stringify({ key, storedAt: Date.now(), headers: lines } satisfies Fields));
  const frame = Buffer.concat([Buffer.alloc(HEAD), fields, bytes]);
  frame.writeUInt32BE(fields.length, 4);
  frame.writeUInt32BE(crc32(frame.subarray(4)), 0);
  await redis.set(name, frame, 'EX', 3600);
  return frame;
}

function read(frame: Buffer, key: string): { fields: Fields; content: Buffer } {
  if (crc32(frame.subarray(4)) !== frame.readUInt32BE(0)) throw new Error('not as it was stored');
  const end = HEAD + frame.readUInt32BE(4);
  const fields: Fields = JSON.parse(frame.toString('utf8', HEAD, end));
  if (fields.key !== key) throw new Error('of another key');
  return { fields, content: frame.subarray(end) };
}
