import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Compactor } from '../../../src/store/compact-response.js';
import { Codec, type Decoded, FORMAT } from '../../../src/store/redis/codec/frame.js';
import { ServerClock } from '../../../src/store/redis/server-clock.js';
import type { RedisItem, StoredField, StoredResponse } from '../../../src/store/stored-response.js';
import { anyText } from '../../helpers/any-text.js';
import { at, golden, key, plain, times } from '../../store/golden/items.js';

const goldenFiles = new URL('../../store/golden/', import.meta.url);
const now = 10_000;
const encode = (item: RedisItem = plain, ofKey = key, clock = times) =>
  new Codec(clock).encode(ofKey, item, at)!;
const decode = (frame: Buffer, ofKey = key, clock = times, on = now) =>
  told(new Codec(clock).decode(frame, ofKey, on));
const reasonOf = (frame: Buffer, ofKey?: string) => (decode(frame, ofKey) as { reason?: string }).reason;

const FIELDS = [...Object.keys(golden.full!.item), 'upstream', 'variance', 'encoded', 'prepared'];

/** The decoded item, with each field of a response by name, because some are on the prototype. */
function told<Read extends Decoded | object>(read: Read): Read {
  if (!('item' in read) || (read as Decoded).item.kind !== 'response') return read;
  const item = (read as Decoded).item as unknown as Record<string, unknown>;
  return { ...read, item: Object.fromEntries(FIELDS.map((name) => [name, item[name]])) };
}

/** The JSON parts of a frame, as a value or as text. */
interface Written {
  readonly form?: unknown;
  readonly meta: unknown;
}

const HEAD = 28;
const FORM_LENGTH_AT = 16;

/** A frame with valid length and checksum and any content, as an attacker who knows the format could write it. */
function forge(written: Written, { body = Buffer.from('x'), kind = 1, format = FORMAT } = {}): Buffer {
  const bytesOf = (part: unknown) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part));
  const [form, meta] = [bytesOf(written.form ?? ''), bytesOf(written.meta)];
  const frame = Buffer.concat([Buffer.alloc(HEAD), form, meta, body]);
  frame.write('HPCE', 0);
  frame[4] = format;
  frame[12] = kind;
  frame.writeUInt32BE(form.length, FORM_LENGTH_AT);
  frame.writeUInt32BE(meta.length, FORM_LENGTH_AT + 4);
  frame.writeUInt32BE(body.length, FORM_LENGTH_AT + 8);
  frame.writeUInt32BE(crc32(frame.subarray(12)), 8);
  return frame;
}

/** Fields written per response, in the order of the frame after key and position. */
const OWN = [
  'url',
  'tags',
  'values',
  'etag',
  'lastModified',
  'date',
  'storedAt',
  'freshUntil',
  'handlerMicros',
];

/** The written form of a valid response, with some fields replaced. */
function writtenWith(changes: Record<string, unknown> = {}) {
  const frame = encode();
  const metaAt = HEAD + frame.readUInt32BE(FORM_LENGTH_AT);
  const form = JSON.parse(frame.toString('utf8', HEAD, metaAt));
  const metaEnd = metaAt + frame.readUInt32BE(FORM_LENGTH_AT + 4);
  const meta: unknown[] = JSON.parse(frame.toString('utf8', metaAt, metaEnd));
  for (const [name, value] of Object.entries(changes)) {
    const at = OWN.indexOf(name);
    if (at >= 0) meta[3 + at] = value;
    else form[name] = value;
  }
  return { form, meta };
}

describe('a frame', () => {
  it.each(Object.entries(golden))(
    'decodes to the encoded item, byte by byte: %s',
    (_, { key: ofKey, item }) => {
      expect(decode(encode(item, ofKey), ofKey)).toEqual({ item, at });
    },
  );

  const read = (file: string) => Buffer.from(readFileSync(new URL(file, goldenFiles), 'utf8'), 'base64');

  it.each(Object.entries(golden))(
    `matches the golden file of its format, and reads it: %s [G13]`,
    (name, { key: ofKey, item }) => {
      const frame = read(`format-${FORMAT}-${name}.txt`);
      expect(encode(item, ofKey).equals(frame)).toBe(true);
      expect(decode(frame, ofKey)).toEqual({ item, at });
    },
  );

  const others = readdirSync(goldenFiles).filter(
    (file) => /^format-\d/.test(file) && !file.includes(`-${FORMAT}-`),
  );

  it.each(others)('rejects a golden file of another format, and does not misread it: %s [G13]', (file) => {
    expect(reasonOf(read(file))).toBe('version');
  });

  it('keeps a body of any bytes, and leaves out the encoded forms [G14]', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 2000 }),
        fc.array(fc.string()),
        anyText().map((text) => `/${encodeURIComponent(text)}?${text.length}`),
        (body, tags, url) => {
          const path = url.split('?')[0]!;
          const item: StoredResponse = { ...plain, tags, url, path, body: Buffer.from(body) };
          const encoded = new Map([['br', { body: Buffer.from('x'), hits: 1, upgraded: false }]]);
          expect(decode(encode({ ...item, encoded }))).toEqual({ item, at });
        },
      ),
    );
  });

  it('decodes the same after other frames were decoded', () => {
    const codec = new Codec(times);
    const compactor = new Compactor();
    const item = fc.record({
      vary: fc.subarray(['accept-language', 'origin']),
      status: fc.constantFrom(200, 404),
      headers: fc.constantFrom<StoredField[]>([], [['A', 'b']], [['B', 'b']], [['A', ['b', 'c']]]),
      initialAge: fc.constantFrom(0, 1),
      explicitlyShared: fc.boolean(),
      anyOrigin: fc.constantFrom(true, false, undefined),
      upstream: fc.constantFrom(true, undefined),
      template: fc.constantFrom('/a', '/ä', '/\u0100', undefined),
    });
    fc.assert(
      fc.property(item, fc.boolean(), (changes, isCompact) => {
        const whole: StoredResponse = { ...plain, ...changes };
        const frame = codec.encode(key, isCompact ? compactor.compact(whole) : whole, at)!;
        expect(frame.equals(encode(whole))).toBe(true);
        expect(told(codec.decode(frame, key, now))).toEqual({ item: whole, at });
      }),
    );
  });

  it('with another key is rejected [G35]', () => {
    expect(reasonOf(encode(), `${key}&x`)).toBe('key');
  });

  it('of another format is rejected [G13]', () => {
    for (const format of [0, 1, 2, 3, 5, 255])
      expect(reasonOf(forge(writtenWith(), { format }))).toBe('version');
  });

  it('is rejected when it is truncated anywhere [G11]', () => {
    const frame = encode();
    for (let length = 0; length < frame.length; length++) {
      expect(reasonOf(frame.subarray(0, length)), `${length} bytes`).toBe('truncated');
    }
    expect(reasonOf(Buffer.concat([frame, Buffer.from('x')]))).toBe('shape');
  });

  it('is rejected when any one bit is changed [G11]', () => {
    const frame = encode();
    for (let bit = 0; bit < frame.length * 8; bit++) {
      frame[bit >> 3]! ^= 1 << (bit & 7);
      expect(reasonOf(frame), `bit ${bit}`).toMatch(/^(truncated|checksum|version|shape)$/);
      frame[bit >> 3]! ^= 1 << (bit & 7);
    }
    expect(reasonOf(frame)).toBeUndefined();
  });

  it('is rejected when it is random bytes, JSON or text [G11]', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => reasonOf(Buffer.from(bytes)) !== undefined),
    );
    for (const text of ['', '{}', '{"status":200,"body":"x"}', 'a'.repeat(500)]) {
      expect(reasonOf(Buffer.from(text))).toMatch(/^(truncated|shape)$/);
    }
  });
});

describe('a complete frame with invalid content is rejected [G11]:', () => {
  it('reads a forged frame whose content is valid', () => {
    expect((decode(forge(writtenWith())) as Decoded).item).toEqual({ ...plain, body: Buffer.from('x') });
  });

  it.each<[string, Record<string, unknown>]>([
    ['a status with text', { status: '200; x' }],
    ['a status out of range', { status: 199 }],
    ['a status out of range', { status: 600 }],
    ['a status that is no integer', { status: 200.5 }],
    ['a header that ends its line', { values: ['b\r\nSet-Cookie: c=d'] }],
    ['a header with LF', { values: ['b\nc'] }],
    ['a header with NUL', { values: ['b\0'] }],
    ['a header beyond Latin-1', { values: ['☃'] }],
    ['the same in a list', { values: [['fine', 'b\r\n']] }],
    ['a header name with a line end', { names: ['X-A\r\nX-B'] }],
    ['an empty header name', { names: [''] }],
    ['a header name with a space', { names: ['X A'] }],
    ['a header without value', { values: [] }],
    ['a header without name', { names: [] }],
    ['a header with a number', { values: [1] }],
    ['a header that is an object', { values: [{ 0: 'b', length: 1 }] }],
    ['headers that are an object', { values: { 'X-A': 'b' } }],
    ['names that are an object', { names: { 'X-A': 'b' } }],
    ['a header that frames the message', { names: ['Transfer-Encoding'] }],
    ['a length of its own', { names: ['content-length'] }],
    ['an etag with a line end', { etag: '"a"\r\nX: y' }],
    ['a date with a line end', { date: 'x\ny' }],
    ['a last modification with a line end', { lastModified: 'x\ny' }],
    ['a header to vary on that is no name', { vary: ['a:b'] }],
    ['removed names that are none', { removed: ['a\r\nb'] }],
    ['tags that are no list', { tags: 'products' }],
    ['tags that are no strings', { tags: [['products']] }],
    ['too many tags', { tags: Array.from({ length: 10_001 }, () => '') }],
    ['a time that is null, as JSON writes Infinity', { freshUntil: null }],
    ['a time that is text', { storedAt: '5000' }],
    ['a negative age', { initialAge: -1 }],
    ['a duration of the handler that is negative', { handlerMicros: -1 }],
    ['a flag that is no boolean', { explicitlyShared: 1 }],
    ['terms of use that are an object', { reuse: { staleIfError: 1 } }],
    ['terms of use with a number too many', { reuse: [false, false, 0, 0, 0] }],
    ['terms of use without bound', { reuse: [false, false, null, 0] }],
    ['no URL', { url: undefined }],
    ['no status', { status: undefined }],
    ['no header', { values: undefined }],
    ['a field of a later version', { restricted: true }],
    ['a kind of its own', { kind: 'response' }],
    ['a body of its own', { body: 'other' }],
    ['a stamp of its own', { stamp: 1e9 }],
  ])('%s', (_, changes) => {
    expect(reasonOf(forge(writtenWith(changes)))).toBe('shape');
  });

  it('more or fewer fields of a response', () => {
    const { form, meta } = writtenWith();
    expect(reasonOf(forge({ form, meta: [...meta, true] }))).toBe('shape');
    expect(reasonOf(forge({ form, meta: meta.slice(0, -1) }))).toBe('shape');
  });

  it('`__proto__`, `constructor` and the like among the fields [G12]', () => {
    const { form, meta } = writtenWith();
    const text = JSON.stringify(form);
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const forged = text.replace('{', `{"${name}":{"polluted":true},`);
      expect(forged).not.toBe(text);
      expect(reasonOf(forge({ form: forged, meta }))).toBe('shape');
    }
    expect('polluted' in {}).toBe(false);
  });

  it('a required field that exists only on a prototype', () => {
    const { form, meta } = writtenWith({ status: undefined });
    const forged = JSON.stringify(form).replace('{', '{"__proto__":{"status":200},');
    expect(reasonOf(forge({ form: forged, meta }))).toBe('shape');
  });

  it.each([
    ['nothing', ''],
    ['no JSON', '{'],
    ['an empty list', '[]'],
    ['an empty object', '{}'],
    ['null', 'null'],
    ['a number', '1'],
    ['an object nested 100,000 deep', `${'{"key":'.repeat(1e5)}1${'}'.repeat(1e5)}`],
    ['a list nested 100,000 deep', `${'['.repeat(1e5)}${']'.repeat(1e5)}`],
  ])('%s in place of the fields or of the form', (_, text) => {
    const { form, meta } = writtenWith();
    expect(reasonOf(forge({ form, meta: text }))).toBe('shape');
    expect(reasonOf(forge({ form: text, meta }))).toBe('shape');
  });

  it('an invalid log position', () => {
    const { form, meta } = writtenWith();
    const [ofKey, , , ...own] = meta;
    for (const [epoch, position] of [[], ['e'], ['e', -1], ['e', 1.5], ['e', '1'], [1, 1], ['e', 2 ** 60]]) {
      expect(reasonOf(forge({ form, meta: [ofKey, epoch, position, ...own] }))).toBe('shape');
    }
  });

  it('fields over the limit, before they are parsed', () => {
    const { form, meta } = writtenWith();
    const long = `["${'a'.repeat(1024 ** 2)}"]`;
    expect(reasonOf(forge({ form, meta: long }))).toBe('shape');
    expect(reasonOf(forge({ form: long, meta }))).toBe('shape');
  });

  it('an unknown kind, and a kind with the content of another', () => {
    for (const kind of [0, 2, 3, 255]) expect(reasonOf(forge(writtenWith(), { kind }))).toBe('shape');
    const meta = [key, 'e', 1, ['a'], ['b']];
    const nothing = Buffer.alloc(0);
    expect(reasonOf(forge({ meta }, { kind: 2, body: nothing }))).toBeUndefined();
    expect(reasonOf(forge({ meta: [...meta, 1] }, { kind: 2, body: nothing }))).toBe('shape');
    expect(reasonOf(forge({ meta }, { kind: 2 }))).toBe('shape');
    expect(reasonOf(forge({ form: writtenWith().form, meta }, { kind: 2, body: nothing }))).toBe('shape');
    expect(reasonOf(forge({ meta }))).toBe('shape');
  });
});

describe('times', () => {
  const shifted = (by: number) => ({
    toShared: (local: number) => local + by,
    fromShared: (shared: number) => shared - by,
  });

  it('use the clock of Redis: a process that started at another time reads the same age [G36]', () => {
    const frame = encode(plain, key, shifted(1_000_000));
    const read = decode(frame, key, shifted(999_000), 6_000) as Decoded;
    expect(read.item).toMatchObject({ storedAt: 6_000, freshUntil: 66_000 });
  });

  it('never give a negative age, and reject a time in the future [G36]', () => {
    const frame = encode();
    expect(decode(frame, key, times, 4_500)).toMatchObject({ item: { storedAt: 4_500 } });
    expect(decode(frame, key, times, 3_000)).toEqual({ reason: 'clock' });
  });

  it('shift with the clock of Redis, and are never in the future [G36]', () => {
    const hour = 3_600_000;
    const clock = new ServerClock();
    clock.sample(0, 2, 10 * hour);
    const item = { ...plain, storedAt: 0, freshUntil: 3 * hour };
    const frame = encode(item, key, clock);
    const readAt = (local: number) => decode(frame, key, clock, local) as Decoded;
    expect(readAt(2 * hour).item).toMatchObject({ storedAt: 0, freshUntil: 3 * hour });
    // After a forward step it is an hour older; after a step back an hour younger, or unusable.
    clock.sample(2 * hour, 2 * hour + 2, 13 * hour);
    expect(readAt(2 * hour).item).toMatchObject({ storedAt: -hour, freshUntil: 2 * hour });
    clock.sample(2 * hour, 2 * hour + 2, 11 * hour);
    expect(readAt(2 * hour).item).toMatchObject({ storedAt: hour, freshUntil: 4 * hour });
    expect(readAt(hour - 2000)).toEqual({ reason: 'clock' });
  });

  it('are neither written nor read while the clock is unknown', () => {
    const unknown = shifted(Number.NaN);
    expect(encode(plain, key, unknown)).toBeUndefined();
    expect(decode(encode(), key, unknown)).toEqual({ reason: 'shape' });
    expect(encode({ ...plain, freshUntil: Number.POSITIVE_INFINITY })).toBeUndefined();
  });
});

describe('memory of a body', () => {
  it('is part of the frame until it is stored, and copied only out of a larger buffer', () => {
    const alone = Buffer.from(new Uint8Array(encode({ ...plain, body: Buffer.alloc(50_000, 'a') })).buffer);
    const large = Buffer.concat([Buffer.alloc(60_000), alone]);
    const compactor = new Compactor();
    for (const [frame, isCopied] of [
      [alone, false],
      [large.subarray(60_000), true],
    ] as const) {
      const { item } = new Codec(times).decode(frame, key, now) as Decoded & { item: StoredResponse };
      expect(item.body.buffer).toBe(frame.buffer);
      const kept = compactor.compact(item).body;
      expect(kept.buffer !== frame.buffer).toBe(isCopied);
      expect(kept).toEqual(Buffer.alloc(50_000, 'a'));
    }
  });

  it('is not written with fields over the limit', () => {
    expect(encode({ ...plain, tags: ['a'.repeat(1024 ** 2)] })).toBeUndefined();
    expect(encode({ ...plain, template: 'a'.repeat(1024 ** 2) })).toBeUndefined();
  });
});

// Once for a new format: writes the files that every later version must read or reject.
if (process.env.WRITE_GOLDEN) {
  for (const [name, { key: ofKey, item }] of Object.entries(golden)) {
    const frame = encode(item, ofKey).toString('base64');
    writeFileSync(new URL(`format-${FORMAT}-${name}.txt`, goldenFiles), `${frame}\n`, { flag: 'wx' });
  }
}
