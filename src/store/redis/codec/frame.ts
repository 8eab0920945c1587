import { crc32 } from 'node:zlib';
import { CompactResponse, compactOf } from '../../compact-response.js';
import type { EncodedResult, RedisItem, StoredResponse, VariantIndex } from '../../stored-response.js';
import type { LogStamp } from '../log/log-positions.js';
import {
  Forms,
  parsed,
  readOwn,
  readResultFields,
  readVariants,
  type ServerTimes,
  writeForm,
  writeOwn,
  writeResultFields,
  writeVariants,
} from './entry-fields.js';

import type { SharedTimes } from './field-codecs.js';

export type { SharedTimes } from './field-codecs.js';

/**
 * The version of the format, in the frame and in the names of Redis keys. During a rolling deployment,
 * instances of another version neither read nor delete each other's entries.
 */
export const FORMAT = 4;

/** The content of a frame. */
export interface Decoded {
  /** The caller must replace `stamp` and `since` by positions of this process. */
  readonly item: CompactResponse | VariantIndex | EncodedResult;
  readonly at: LogStamp;
}

/** The reason why a value cannot be used. */
export type Undecodable = 'truncated' | 'checksum' | 'version' | 'key' | 'shape' | 'clock';

/*
 * The frame. All numbers are big-endian.
 *
 *   0   4  `HPCE`
 *   4   1  format
 *   5   3  0
 *   8   4  CRC-32 of all that follows
 *  12   1  kind of item
 *  13   3  0
 *  16   4  length of the form
 *  20   4  length of the fields
 *  24   4  length of the body
 *  28      the form (an object) and the fields (a list), each as JSON in UTF-8; then the body
 *
 * The form contains what most responses of a route have in common. It is parsed once for all of them.
 */
const MAGIC = 0x48504345;
const HEAD = 28;
const FORMAT_AT = 4;
const CHECKSUM_AT = 8;
const KIND_AT = 12;
const FORM_LENGTH_AT = 16;
const FIELDS_LENGTH_AT = 20;
const BODY_LENGTH_AT = 24;
const kinds = { response: 1, variants: 2, 'encoded-result': 3 } as const;

/** Maximum size of the form and the fields, in bytes. Node accepts 16 kB of headers by default. */
const MOST_OF_FIELDS = 1024 ** 2;

/** The clock error that is tolerated when an entry seems to come from the future. Milliseconds. */
const CLOCK_ERROR = 1000;

const nothing = Buffer.alloc(0);

/** The length that the start of a frame declares; `undefined` if it is not a frame. */
export function frameLength(frame: Buffer): number | undefined {
  if (frame.length < HEAD || frame.readUInt32BE(0) !== MAGIC || frame.readUInt8(FORMAT_AT) !== FORMAT)
    return undefined;
  const lengths = [FORM_LENGTH_AT, FIELDS_LENGTH_AT, BODY_LENGTH_AT];
  return lengths.reduce((sum, at) => sum + frame.readUInt32BE(at), HEAD);
}

/** Writes items as frames for Redis, and reads them. */
export class Codec {
  readonly #times: SharedTimes;
  readonly #forms = new Forms();
  /** Forms as JSON, by the form object that responses in memory have in common. */
  readonly #written = new WeakMap<object, Buffer>();

  constructor(times: SharedTimes) {
    this.#times = times;
  }

  /**
   * Encodes one item. Compressed bodies are left out, because they can be made again from the body.
   *
   * @returns `undefined` if the times cannot be converted to the server's clock or the fields are too large.
   */
  encode(key: string, item: RedisItem, at: LogStamp): Buffer | undefined {
    const written = this.#fieldsOf(item);
    if (!written) return undefined;
    const form = item.kind === 'response' ? this.#formOf(item) : nothing;
    const fields = Buffer.from(JSON.stringify([key, at.epoch, at.position, ...written]));
    if (form.length + fields.length > MOST_OF_FIELDS) return undefined;
    const body = item.kind === 'variants' ? nothing : item.body;
    const frame = Buffer.allocUnsafe(HEAD + form.length + fields.length + body.length);
    frame.writeUInt32BE(MAGIC, 0);
    frame.writeUInt32LE(FORMAT, FORMAT_AT);
    frame.writeUInt32LE(kinds[item.kind], KIND_AT);
    frame.writeUInt32BE(form.length, FORM_LENGTH_AT);
    frame.writeUInt32BE(fields.length, FIELDS_LENGTH_AT);
    frame.writeUInt32BE(body.length, BODY_LENGTH_AT);
    form.copy(frame, HEAD);
    fields.copy(frame, HEAD + form.length);
    body.copy(frame, HEAD + form.length + fields.length);
    frame.writeUInt32BE(checksumOf(frame), CHECKSUM_AT);
    return frame;
  }

  /**
   * Reads a frame without trusting it: it may be cut short, of another version, of another key, or foreign.
   * The result can be served without further checks of its form.
   *
   * The body is a view of `frame`.
   *
   * @param now our clock, in milliseconds.
   */
  decode(frame: Buffer, key: string, now: number): Decoded | { readonly reason: Undecodable } {
    if (frame.length < HEAD) return { reason: 'truncated' };
    if (frame.readUInt32BE(0) !== MAGIC) return { reason: 'shape' };
    if (frame.readUInt8(FORMAT_AT) !== FORMAT) return { reason: 'version' };
    const fieldsAt = HEAD + frame.readUInt32BE(FORM_LENGTH_AT);
    const bodyAt = fieldsAt + frame.readUInt32BE(FIELDS_LENGTH_AT);
    const end = bodyAt + frame.readUInt32BE(BODY_LENGTH_AT);
    if (frame.length < end) return { reason: 'truncated' };
    const isInShape = frame.readUInt32LE(FORMAT_AT) === FORMAT && frame.length === end;
    if (!isInShape || bodyAt > HEAD + MOST_OF_FIELDS) return { reason: 'shape' };
    if (frame.readUInt32BE(CHECKSUM_AT) !== checksumOf(frame)) return { reason: 'checksum' };

    const meta = readMeta(frame.toString('utf8', fieldsAt, bodyAt));
    if (!meta) return { reason: 'shape' };
    if (meta.key !== key) return { reason: 'key' };
    const { at } = meta;
    const kind = frame.readUInt32LE(KIND_AT);
    if (kind === kinds.variants) {
      const item = readVariants(meta.fields);
      return item && end === HEAD + frame.readUInt32BE(FIELDS_LENGTH_AT) ? { item, at } : { reason: 'shape' };
    }
    const body = frame.subarray(bodyAt, end);
    if (kind === kinds['encoded-result']) return this.#decodeResult(key, at, meta.fields, body, now);
    if (kind !== kinds.response) return { reason: 'shape' };
    const form = this.#forms.read(frame.toString('latin1', HEAD, fieldsAt));
    const own = readOwn(meta.fields);
    if (!form || !own || own.values.length !== form.names.length) return { reason: 'shape' };
    const storedAt = this.#times.fromShared(own.storedAt);
    const freshUntil = this.#times.fromShared(own.freshUntil);
    if (!Number.isFinite(storedAt + freshUntil)) return { reason: 'shape' };
    if (storedAt > now + CLOCK_ERROR) return { reason: 'clock' };
    const { tags, url, etag, lastModified, date, handlerMicros, values } = own;
    const item = new CompactResponse(
      {
        key,
        stamp: Number.NEGATIVE_INFINITY,
        since: Number.NEGATIVE_INFINITY,
        tags,
        url,
        etag,
        lastModified,
        date,
        storedAt: Math.min(storedAt, now), // an age is never negative
        freshUntil,
        handlerMicros,
        body,
        encoded: undefined,
      },
      form,
      values,
    );
    return { item, at };
  }

  /** `undefined` if the times cannot be converted. */
  #fieldsOf(item: RedisItem): readonly unknown[] | undefined {
    if (item.kind === 'variants') return writeVariants(item);
    const times = this.#serverTimes(item);
    if (!times) return undefined;
    return item.kind === 'response' ? writeOwn(item, times) : writeResultFields(item, times);
  }

  #decodeResult(
    key: string,
    at: LogStamp,
    fields: readonly unknown[],
    body: Buffer,
    now: number,
  ): Decoded | { readonly reason: Undecodable } {
    const read = readResultFields(fields);
    if (!read) return { reason: 'shape' };
    const storedAt = this.#times.fromShared(read.storedAt);
    const freshUntil = this.#times.fromShared(read.freshUntil);
    if (!Number.isFinite(storedAt + freshUntil)) return { reason: 'shape' };
    if (storedAt > now + CLOCK_ERROR) return { reason: 'clock' };
    const { tags, staleWhileRevalidate, staleIfError } = read;
    const item: EncodedResult = {
      kind: 'encoded-result',
      key,
      stamp: Number.NEGATIVE_INFINITY,
      tags,
      url: '',
      path: '',
      storedAt: Math.min(storedAt, now),
      freshUntil,
      staleWhileRevalidate,
      staleIfError,
      body,
    };
    return { item, at };
  }

  /** Rounded down, so that rounding never extends a lifetime. */
  #serverTimes({
    storedAt,
    freshUntil,
  }: Pick<StoredResponse, 'storedAt' | 'freshUntil'>): ServerTimes | undefined {
    const times = {
      storedAt: Math.floor(this.#times.toShared(storedAt)),
      freshUntil: Math.floor(this.#times.toShared(freshUntil)),
    };
    return Number.isFinite(times.storedAt + times.freshUntil) ? times : undefined;
  }

  #formOf(item: StoredResponse): Buffer {
    const shared = compactOf(item)?.form;
    const known = shared && this.#written.get(shared);
    if (known) return known;
    const form = Buffer.from(JSON.stringify(writeForm(item)));
    if (shared) this.#written.set(shared, form);
    return form;
  }
}

interface Meta {
  readonly key: unknown;
  readonly at: LogStamp;
  /** The fields of its kind of item. */
  readonly fields: readonly unknown[];
}

function readMeta(text: string): Meta | undefined {
  const meta = parsed(text);
  if (!Array.isArray(meta)) return undefined;
  const [key, epoch, position] = meta as readonly unknown[];
  if (typeof epoch !== 'string' || !isPosition(position)) return undefined;
  return { key, at: { epoch, position }, fields: meta.slice(3) };
}

function isPosition(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function checksumOf(frame: Buffer): number {
  return crc32(frame.subarray(CHECKSUM_AT + 4));
}
