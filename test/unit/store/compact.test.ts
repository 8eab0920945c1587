import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Compactor } from '../../../src/store/compact-response.js';
import { copyItem, type StoredField, type StoredResponse } from '../../../src/store/stored-response.js';

const text = fc.string({ maxLength: 20 });
const texts = fc.array(fc.constantFrom('a', 'b', 'some-name', 'another-name'), { maxLength: 4 });
const field: fc.Arbitrary<StoredField> = fc.tuple(
  fc.constantFrom('Link', 'X-One', 'X-Two'),
  fc.oneof(text, fc.array(text, { maxLength: 3 })),
);

const response: fc.Arbitrary<StoredResponse> = fc.record({
  kind: fc.constant('response' as const),
  key: text,
  stamp: fc.integer(),
  since: fc.integer(),
  variance: fc.option(
    fc.record({
      anyOrder: fc.boolean(),
      mode: fc.constantFrom('ignore' as const, 'keep' as const),
      names: texts.map((names) => new Set(names)),
    }),
    { nil: undefined },
  ),
  tags: fc.array(text, { maxLength: 3 }),
  url: fc.constantFrom('/', '/path', '/path?', '/path?query', '/path?a?b'),
  path: fc.constant(''),
  vary: texts,
  status: fc.constantFrom(200, 301),
  headers: fc.array(field, { maxLength: 5 }),
  removed: texts,
  etag: text,
  ownEtag: fc.boolean(),
  lastModified: fc.option(text, { nil: undefined }),
  date: text,
  storedAt: fc.integer(),
  initialAge: fc.nat(10),
  freshUntil: fc.integer(),
  handlerMicros: fc.nat(),
  reuse: fc.record({
    alwaysValidate: fc.boolean(),
    mustRevalidate: fc.boolean(),
    staleWhileRevalidate: fc.constantFrom(0, 10),
    staleIfError: fc.constantFrom(0, 10),
  }),
  explicitlyShared: fc.boolean(),
  anyOrigin: fc.option(fc.boolean(), { nil: undefined }),
  template: fc.option(fc.constantFrom('/', '/:id'), { nil: undefined }),
  body: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
  encoded: fc.constant(undefined),
});

/** Every field, read by name. */
function read(entry: StoredResponse, like: StoredResponse): Record<string, unknown> {
  const names = Object.keys(like) as (keyof StoredResponse)[];
  return Object.fromEntries(names.map((name) => [name, entry[name]]));
}

describe('a compact response', () => {
  it('keeps every field of its source, after any other responses', () => {
    fc.assert(
      fc.property(fc.array(response, { maxLength: 20 }), (given) => {
        const compactor = new Compactor();
        for (const entry of given) {
          const whole = { ...entry, path: entry.url.replace(/\?.*/, '') };
          expect(read(compactor.compact(entry), entry)).toEqual(whole);
        }
      }),
    );
  });

  it('shares equal values with other responses', () => {
    const compactor = new Compactor();
    const [one, other] = [1, 2].map((n) =>
      compactor.compact({
        ...fc.sample(response, { numRuns: 1, seed: 1 })[0]!,
        key: `${n}`,
        vary: ['accept'],
      }),
    );
    expect(one!.vary).toBe(other!.vary);
    expect(one!.reuse).toBe(other!.reuse);
  });

  it('forgets values that are no longer in use', () => {
    const compactor = new Compactor();
    const made = (template: string) =>
      compactor.compact({ ...fc.sample(response, { numRuns: 1, seed: 1 })[0]!, template }).reuse;
    const first = made('/first');
    for (let i = 0; i < 10_000; i++) made(`/other/${i}/${'x'.repeat(100)}`);
    expect(made('/first')).not.toBe(first);
    expect(made('/first')).toEqual(first);
  });

  it('rounds its times down: older, and never fresh for longer', () => {
    const given = { ...fc.sample(response, { numRuns: 1 })[0]!, storedAt: 10.9, freshUntil: 20.9 };
    expect(new Compactor().compact(given)).toMatchObject({ storedAt: 10, freshUntil: 20 });
  });

  it('shares no memory with its source', () => {
    const lines = ['a', 'b'];
    const tags = ['t'];
    const pooled = Buffer.from('a body');
    const given = fc.sample(response, { numRuns: 1 })[0]!;
    const entry = new Compactor().compact({ ...given, tags, headers: [['Link', lines]], body: pooled });
    lines.push('c');
    tags.push('u');
    pooled.fill(0);
    expect(entry).toMatchObject({ tags: ['t'], headers: [['Link', ['a', 'b']]] });
    expect(entry.body.toString()).toBe('a body');
    expect(entry.body.buffer.byteLength).toBe(6);
  });

  it('has an independent copy with the same fields', () => {
    fc.assert(
      fc.property(response, (given) => {
        const entry = new Compactor().compact(given);
        const copy = copyItem(entry, { freshUntil: -1 });
        copy.stamp = 1234;
        expect(read(copy, given)).toEqual({ ...read(entry, given), freshUntil: -1, stamp: 1234 });
        expect(entry.stamp).toBe(given.stamp);
      }),
    );
  });
});
