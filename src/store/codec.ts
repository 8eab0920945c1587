import { crc32 } from 'node:zlib';
import { ownBytes } from './bytes.js';
import type { SharedItem, StoredResponse, VariantIndex } from './entry.js';
import { readFields, type SharedTimes, writeFields } from './item-fields.js';

export type { SharedTimes } from './item-fields.js';

/**
 * The format, in the frame and in the names of Redis keys: instances of another version of the package, in the
 * middle of a rolling deployment, neither read nor delete what is not theirs.
 */
export const FORMAT = 1;

/** Where an entry stands in the log that instances share. */
export interface SharedStamp {
  readonly epoch: string;
  readonly position: number;
}

/** What a frame holds. */
export interface Decoded {
  /** Its `stamp` and `since` are void until the one who reads it has placed `at` in the log of this process. */
  readonly item: SharedItem;
  readonly at: SharedStamp;
}

/** Why a value could not be used. */
export type Undecodable = 'truncated' | 'checksum' | 'version' | 'key' | 'shape' | 'clock';

/*
 * The frame. All numbers are big-endian.
 *
 *   0   4  `HPCE`
 *   4   1  format
 *   5   1  kind of item
 *   6   2  0
 *   8   4  length of the fields
 *  12   4  length of the body
 *  16   4  CRC-32 of all else
 *  20      the fields, as JSON in UTF-8, then the body
 */
const MAGIC = 0x48504345;
const HEAD = 20;
const CHECKSUM_AT = 16;
const kinds = { response: 1, variants: 2 } as const;

/** Fields beyond this are not ours: Node itself takes 16 kB of headers. Bytes. */
const MOST_OF_FIELDS = 1024 ** 2;

/** An entry can't have been stored in the future; so much is the error of two clocks. Milliseconds. */
const CLOCK_ERROR = 1000;

const nothing = Buffer.alloc(0);

/**
 * One item as bytes for the shared tier. Encoded forms stay behind; they are made again of the body.
 *
 * @returns `undefined` when its times can't be told on the shared clock, or its fields are out of all proportion.
 */
export function encodeItem(
  key: string,
  item: SharedItem,
  at: SharedStamp,
  times: SharedTimes,
): Buffer | undefined {
  const written = writeFields(item.kind, item, times);
  if (item.kind === 'response' && !(Number.isFinite(written.storedAt) && Number.isFinite(written.freshUntil)))
    return undefined;
  const fields = Buffer.from(JSON.stringify({ key, at: [at.epoch, at.position], fields: written }));
  if (fields.length > MOST_OF_FIELDS) return undefined;
  const body = item.kind === 'response' ? item.body : nothing;
  const frame = Buffer.allocUnsafe(HEAD + fields.length + body.length);
  frame.writeUInt32BE(MAGIC, 0);
  frame.writeUInt8(FORMAT, 4);
  frame.writeUInt8(kinds[item.kind], 5);
  frame.writeUInt16BE(0, 6);
  frame.writeUInt32BE(fields.length, 8);
  frame.writeUInt32BE(body.length, 12);
  fields.copy(frame, HEAD);
  body.copy(frame, HEAD + fields.length);
  frame.writeUInt32BE(checksumOf(frame), CHECKSUM_AT);
  return frame;
}

/** How long a frame says it is, of which this may be the beginning; `undefined` when it is no frame of ours. */
export function lengthOf(frame: Buffer): number | undefined {
  if (frame.length < HEAD || frame.readUInt32BE(0) !== MAGIC || frame.readUInt8(4) !== FORMAT)
    return undefined;
  return HEAD + frame.readUInt32BE(8) + frame.readUInt32BE(12);
}

/**
 * Reads a frame, believing nothing: a value may be cut short, of another version, of another key, or someone
 * else's. What it gives may be served without a further look at its form.
 *
 * The body is a view of `frame`, where there is little else in that one's memory, and otherwise a copy.
 *
 * @param now our clock. Milliseconds.
 */
export function decodeItem(
  frame: Buffer,
  key: string,
  times: SharedTimes,
  now: number,
): Decoded | { readonly reason: Undecodable } {
  if (frame.length < HEAD) return { reason: 'truncated' };
  if (frame.readUInt32BE(0) !== MAGIC) return { reason: 'shape' };
  if (frame.readUInt8(4) !== FORMAT) return { reason: 'version' };
  const bodyAt = HEAD + frame.readUInt32BE(8);
  const end = bodyAt + frame.readUInt32BE(12);
  if (frame.length < end) return { reason: 'truncated' };
  if (frame.length > end || frame.readUInt16BE(6) !== 0 || bodyAt > HEAD + MOST_OF_FIELDS)
    return { reason: 'shape' };
  if (frame.readUInt32BE(CHECKSUM_AT) !== checksumOf(frame)) return { reason: 'checksum' };

  const meta = readMeta(frame.toString('utf8', HEAD, bodyAt));
  if (!meta) return { reason: 'shape' };
  if (meta.key !== key) return { reason: 'key' };
  const { at } = meta;
  const kind = frame.readUInt8(5);
  if (kind === kinds.variants) {
    const read = readFields('variants', meta.fields, times) as Omit<VariantIndex, 'kind'> | undefined;
    if (!read || end > bodyAt) return { reason: 'shape' };
    return { item: { kind: 'variants', ...read }, at };
  }
  if (kind !== kinds.response) return { reason: 'shape' };
  const item = readFields('response', meta.fields, times) as Writable<StoredResponse> | undefined;
  if (!item) return { reason: 'shape' };
  if (item.storedAt > now + CLOCK_ERROR) return { reason: 'clock' };
  // What is beside the fields is put to them: to spread them out costs more than to read them.
  item.kind = 'response';
  item.key = key;
  item.stamp = item.since = Number.NEGATIVE_INFINITY;
  item.storedAt = Math.min(item.storedAt, now); // an age is never negative
  item.body = ownBytes(frame.subarray(bodyAt, end));
  return { item, at };
}

type Writable<T> = { -readonly [Name in keyof T]: T[Name] };

function readMeta(text: string): { key: unknown; at: SharedStamp; fields: unknown } | undefined {
  let meta: unknown;
  try {
    meta = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof meta !== 'object' || meta === null) return undefined;
  const { key, at, fields } = meta as Record<string, unknown>;
  if (!Array.isArray(at) || at.length !== 2) return undefined;
  const [epoch, position] = at;
  if (typeof epoch !== 'string' || !Number.isSafeInteger(position) || position < 0) return undefined;
  return { key, at: { epoch, position }, fields };
}

function checksumOf(frame: Buffer): number {
  return crc32(frame.subarray(HEAD), crc32(frame.subarray(0, CHECKSUM_AT)));
}
