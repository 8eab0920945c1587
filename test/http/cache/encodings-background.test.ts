import zlib, { brotliDecompressSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { EncodedBodies } from '../../../src/cache/storage/encoded-bodies.js';
import { MemoryLog } from '../../../src/store/invalidation/invalidation-log.js';
import { compileSelector } from '../../../src/store/invalidation/selector.js';
import { MemoryStore } from '../../../src/store/memory/memory-store.js';
import { type StoredResponse, sizeOf } from '../../../src/store/stored-response.js';
import { PAGE } from '../../helpers/encodings.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { waitFor } from '../../helpers/http.js';

const effort = { level: 6, brotliQuality: 4, zstdLevel: 3, minimumGain: 0.1 };

/** The job just requested has started; its end is not visible before the next turn of the loop. */
const begun = () => nextTurn();

let open: EncodedBodies[] = [];
afterEach(() => {
  for (const encodings of open) encodings.close();
  open = [];
});

function make(maxBytes = 1e8, maxEntries = 100_000) {
  const store = new MemoryStore({ maxBytes, maxEntries });
  const log = new MemoryLog(() => 0);
  const faults: unknown[] = [];
  const encodings = new EncodedBodies(store, log, (error) => faults.push(error), { watch: 1 });
  open.push(encodings);
  const put = (key: string, body: Buffer | string = PAGE, tags: string[] = []) => {
    const entry: StoredResponse = {
      kind: 'response',
      key,
      stamp: log.position,
      since: 0,
      tags,
      url: `/${key}`,
      path: `/${key}`,
      status: 200,
      headers: [],
      removed: [],
      body: Buffer.from(body),
      etag: '"x"',
      date: '',
      storedAt: 0,
      initialAge: 0,
      freshUntil: 1,
      handlerMicros: 0,
      explicitlyShared: false,
      vary: [],
      ownEtag: true,
      reuse: { alwaysValidate: false, mustRevalidate: false, staleWhileRevalidate: 0, staleIfError: 0 },
    };
    store.set(key, entry);
    return entry;
  };
  const idle = () =>
    waitFor(async () => {
      await begun();
      const { made, useless, discarded, waiting } = encodings.stats;
      return waiting === 0 && made + useless + discarded > 0;
    });
  return { store, log, encodings, faults, put, idle };
}

describe('encoding in the background', () => {
  it('discards the variant of an entry that is purged during its encoding [D01]', async () => {
    const { store, log, encodings, put, idle } = make();
    const entry = put('a', PAGE, ['t']);
    expect(encodings.find(entry, 'br', effort)).toBeUndefined();
    await begun();
    log.record('purge', compileSelector({ tag: 't' }));
    await idle();
    expect(encodings.stats).toMatchObject({ made: 0, discarded: 1 });
    store.delete('a');
    expect([store.entries, store.bytes]).toEqual([0, 0]);
  });

  it.each<[string, (made: ReturnType<typeof make>) => void, number]>([
    ['erased', ({ store }) => void store.delete('a'), 0],
    ['replaced with another body', ({ put }) => void put('a', PAGE.toUpperCase()), 1],
  ])('does not restore an entry that was %s during its encoding', async (_what, change, entries) => {
    const made = make();
    const entry = made.put('a');
    made.encodings.find(entry, 'br', effort);
    await begun();
    expect(made.encodings.stats.waiting).toBe(0);
    change(made);
    await made.idle();
    expect(made.encodings.stats).toMatchObject({ made: 0, discarded: 1 });
    expect(made.store.entries).toBe(entries);
    const now = made.store.peek('a');
    if (now?.kind === 'response') expect(now.encoded?.get('br')?.body).toBeUndefined();
  });

  it('keeps the variant of an entry refilled with the same body during its encoding', async () => {
    const made = make();
    made.encodings.find(made.put('a'), 'br', effort);
    await begun();
    const fresh = made.put('a');
    await made.idle();
    expect(brotliDecompressSync(made.encodings.find(fresh, 'br', effort)!).toString()).toBe(PAGE);
    expect(made.store.bytes).toBe(sizeOf('a', fresh));
  });

  it.each(['br', 'gzip', 'deflate'])('retains no memory beyond a small %s form [K11]', async (coding) => {
    const { encodings, put, idle } = make();
    const entry = put('a');
    encodings.find(entry, coding, effort);
    await idle();
    const form = encodings.find(entry, coding, effort)!;
    expect(form.buffer.byteLength).toBe(form.length);
  });

  it('counts the bytes of variants and evicts the least used entries [K11, I-BOUND]', async () => {
    const { store, encodings, put, idle } = make(5 * PAGE.length + 5_000);
    for (const key of ['a', 'b', 'c', 'd']) put(key);
    const entry = store.get('d') as StoredResponse;
    const before = store.bytes;
    encodings.find(entry, 'gzip', effort);
    encodings.find(entry, 'br', effort);
    encodings.find(entry, 'deflate', effort);
    await waitFor(() => encodings.stats.made === 3);
    const made = [...entry.encoded!.values()].reduce((sum, { body }) => sum + body!.length, 0);
    expect(store.bytes).toBeGreaterThanOrEqual(before + made);
    put('e');
    expect(store.bytes).toBeLessThanOrEqual(5 * PAGE.length + 5_000);
    expect([store.peek('a'), store.peek('d')]).toEqual([undefined, entry]);
    await idle();
    for (const key of ['a', 'b', 'c', 'd', 'e']) store.delete(key);
    expect(store.bytes).toBe(0);
  });

  it('does not keep a variant that has no room, nor encode it again [K11, I-BOUND]', async () => {
    const { store, encodings, put, idle } = make(PAGE.length + 1500);
    const entry = put('a');
    encodings.find(entry, 'br', effort);
    await idle();
    expect(encodings.find(entry, 'br', effort)).toBeNull();
    expect(store.peek('a')).toBe(entry);
    expect(store.bytes).toBeLessThanOrEqual(PAGE.length + 1500);
    expect(encodings.stats).toMatchObject({ made: 0, discarded: 1, waiting: 0 });
  });

  it('queues 256 jobs for 10,000 entries at once and queues others later [I-BOUND]', async () => {
    const { encodings, put } = make();
    const small = PAGE.slice(0, 2000);
    const entries = Array.from({ length: 10_000 }, (_, i) => put(`${i}`, small));
    for (const entry of entries) encodings.find(entry, 'br', effort);
    expect(encodings.stats).toMatchObject({ waiting: 256, dropped: 10_000 - 256 });
    await waitFor(() => encodings.stats.made === 256);
    expect(encodings.find(entries[9_999]!, 'br', effort)).toBeUndefined();
    await waitFor(() => encodings.stats.made === 257);
    expect(encodings.find(entries[9_999]!, 'br', effort)).toBeInstanceOf(Buffer);
  });

  it.each<[string, Buffer | string, typeof effort, number]>([
    ['after 15 requests', PAGE, effort, 15],
    ['of a body over 256 kB', PAGE.repeat(20), effort, 20],
    ['that Brotli 11 made', PAGE, { ...effort, brotliQuality: 11 }, 20],
  ])('does not upgrade a variant %s', async (_why, body, how, requests) => {
    const { encodings, put, idle } = make();
    const entry = put('a', body);
    encodings.find(entry, 'br', how);
    await idle();
    for (let i = 0; i < requests; i++) expect(encodings.find(entry, 'br', how)).toBeInstanceOf(Buffer);
    expect(encodings.stats).toMatchObject({ made: 1, waiting: 0, upgraded: 0 });
  });

  it('upgrades a variant once, after 16 requests, and recounts its bytes', async () => {
    const { store, encodings, put, idle } = make();
    const entry = put('a');
    encodings.find(entry, 'br', effort);
    await idle();
    const before = encodings.find(entry, 'br', effort)!.length;
    for (let i = 0; i < 40; i++) encodings.find(entry, 'br', effort);
    expect(encodings.stats.waiting).toBe(1);
    await waitFor(() => encodings.stats.upgraded === 1);
    const after = encodings.find(entry, 'br', effort)!;
    expect(after.length).toBeLessThan(before);
    expect(brotliDecompressSync(after).toString()).toBe(PAGE);
    expect(store.bytes).toBe(sizeOf('a', entry));
    for (let i = 0; i < 40; i++) encodings.find(entry, 'br', effort);
    expect(encodings.stats).toMatchObject({ waiting: 0, upgraded: 1 });
  });

  it('reports an effort that zlib rejects once, and sends the body unencoded', async () => {
    const { encodings, put, faults, idle } = make();
    const entry = put('a');
    encodings.find(entry, 'gzip', { ...effort, level: 99 });
    await idle();
    expect(faults).toHaveLength(1);
    expect(encodings.find(entry, 'gzip', effort)).toBeNull();
  });

  it('makes the zstd form where Node has it, with a window of the body, and nothing elsewhere', async () => {
    const { encodings, put, idle } = make();
    const entry = put('a');
    const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (body: Buffer, options: object) => Buffer };
    expect(encodings.find(entry, 'zstd', effort)).toBeUndefined();
    expect(encodings.stats.waiting).toBe(zstdDecompressSync ? 1 : 0);
    if (zstdDecompressSync) {
      await idle();
      const form = encodings.find(entry, 'zstd', effort);
      const windowLogMax = Math.ceil(Math.log2(entry.body.length));
      expect(zstdDecompressSync(form!, { params: { 100: windowLogMax } })).toEqual(entry.body);
    }
  });

  it('ignores unsupported codings and responses that are not in the store', () => {
    const { store, encodings, put } = make();
    const entry = put('a');
    for (const coding of ['snappy', 'identity', 'toString', '__proto__'])
      expect(encodings.find(entry, coding, effort)).toBeUndefined();
    store.delete('a');
    expect(encodings.find(entry, 'br', effort)).toBeUndefined();
    expect(encodings.stats.waiting).toBe(0);
  });

  it('encodes nothing after close and drops the running job', async () => {
    const { encodings, put, idle } = make();
    const entry = put('a');
    encodings.find(entry, 'br', effort);
    await begun();
    encodings.close();
    encodings.close();
    await idle();
    expect(encodings.find(entry, 'br', effort)).toBeUndefined();
    expect(encodings.find(entry, 'gzip', effort)).toBeUndefined();
    expect(encodings.stats).toMatchObject({ made: 0, discarded: 1, waiting: 0 });
  });
});
