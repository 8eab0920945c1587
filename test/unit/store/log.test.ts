import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Cause,
  type LogBounds,
  MemoryLog,
  type RecordKind,
  VOID,
} from '../../../src/store/invalidation/invalidation-log.js';
import { compileSelector, type Selector } from '../../../src/store/invalidation/selector.js';
import type { Stamped } from '../../../src/store/stored-response.js';

const FRESH = Number.POSITIVE_INFINITY;

function entryAt(stamp: number, fields: Partial<Stamped> = {}): Stamped {
  return { stamp, tags: [], url: '/a?page=1', path: '/a', ...fields };
}

function logAt(clock: { now: number }, bounds?: LogBounds): MemoryLog {
  return new MemoryLog(() => clock.now, bounds);
}

const append = (log: MemoryLog, kind: RecordKind, selector: Selector, cause?: Cause) =>
  log.record(kind, compileSelector(selector), cause);

describe('the log in memory', () => {
  it.each<[string, Selector, Partial<Stamped>, Partial<Stamped>]>([
    ['tag', { tag: 'x' }, { tags: ['w', 'x'] }, { tags: ['y'] }],
    ['url', { url: '/a?page=1' }, { url: '/a?page=1' }, { url: '/a?page=2' }],
    ['pattern', { pattern: '/a/:id' }, { path: '/a/7' }, { path: '/b/7' }],
    ['a tag with the name of a URL', { tag: '/a?page=1' }, { tags: ['/a?page=1'] }, { url: '/a?page=1' }],
    ['a tag from Object.prototype', { tag: '__proto__' }, { tags: ['__proto__'] }, { tags: ['toString'] }],
  ])(
    'voids entries that match and are older, and nothing else, for a purge by %s [H07]',
    async (...given) => {
      const [, selector, matching, other] = given;
      const log = logAt({ now: 1 });
      await append(log, 'purge', selector);
      expect(log.limit(entryAt(0, matching))).toBe(VOID);
      expect(log.limit(entryAt(0, other))).toBe(FRESH);
      expect(log.limit(entryAt(log.position, matching))).toBe(FRESH);
    },
  );

  it('returns the limit of a URL for other entries, from any position on [H07]', async () => {
    const clock = { now: 5 };
    const log = logAt(clock, { maxNames: 2 });
    await append(log, 'expire', { url: '/a?page=2' });
    await append(log, 'purge', { tag: '/a?page=1' });
    expect(log.limitOfUrl('/a?page=2', 0)).toBe(5);
    expect(log.limitOfUrl('/a?page=2', 1)).toBe(FRESH);
    expect(log.limitOfUrl('/a?page=1', 0)).toBe(FRESH);
    await append(log, 'purge', { url: '/a?page=2' });
    expect(log.limitOfUrl('/a?page=2', 2)).toBe(VOID);
    expect(log.limitOfUrl('/a?page=2', 3)).toBe(FRESH);
    // A forgotten record may have matched it.
    await append(log, 'purge', { url: '/b' });
    expect(log.limitOfUrl('/c', 1)).toBe(VOID);
    expect(log.limitOfUrl('/c', 2)).toBe(FRESH);
  });

  it('sets the time of an expiry as the limit, and lets a purge win over it [H07]', async () => {
    const clock = { now: 5 };
    const log = logAt(clock);
    await append(log, 'expire', { tag: 'x' });
    clock.now = 9;
    expect(log.limit(entryAt(0, { tags: ['x'] }))).toBe(5);
    await append(log, 'purge', { all: true });
    expect(log.limit(entryAt(0, { tags: ['x'] }))).toBe(VOID);
  });

  it('voids a checked entry by a later record [H07]', async () => {
    const log = logAt({ now: 1 });
    const entry = entryAt(0, { tags: ['x'] });
    await append(log, 'purge', { tag: 'other' });
    expect(log.limit(entry)).toBe(FRESH);
    await append(log, 'purge', { tag: 'x' });
    expect(log.limit(entry)).toBe(VOID);
  });

  it('uses dense positions, and resolves each append with its own [H07]', async () => {
    const log = logAt({ now: 1 });
    const appends = ['a', 'b', 'c'].map((tag) => append(log, 'purge', { tag }));
    expect((await Promise.all(appends)).map(({ position }) => position)).toEqual([1, 2, 3]);
    expect(log.position).toBe(3);
  });

  it.each<[string, LogBounds, (i: number) => Selector]>([
    ['names', { maxNames: 3 }, (i) => ({ tag: `t${i}` })],
    ['patterns', { maxPatterns: 3 }, (i) => ({ pattern: `/p${i}` })],
  ])(
    'raises the floor when %s overflow: voids older stamps, keeps later ones [H07, I-BOUND]',
    async (...given) => {
      const [, bounds, selector] = given;
      const log = logAt({ now: 1 }, bounds);
      for (let i = 1; i <= 5; i++) await append(log, 'purge', selector(i));
      // Records 1 and 2 are forgotten, and may have matched any entry with an older stamp.
      expect(log.limit(entryAt(1))).toBe(VOID);
      expect(log.limit(entryAt(2))).toBe(FRESH);
    },
  );

  it('voids an entry with an undecodable path for a pattern that may match it [H07]', async () => {
    const log = logAt({ now: 1 });
    await append(log, 'purge', { pattern: '/files/*path' });
    expect(log.limit(entryAt(0, { path: '/files/%zz' }))).toBe(VOID);
  });
});

/** All records, with the rule itself: an entry is valid if no later record matches it. */
class SlowLog {
  readonly #records: { kind: RecordKind; selector: Selector; at: number }[] = [];
  readonly #clock: { now: number };
  constructor(clock: { now: number }) {
    this.#clock = clock;
  }
  append(kind: RecordKind, selector: Selector): void {
    this.#records.push({ kind, selector, at: this.#clock.now });
  }
  verdict(stamp: number, entry: Stamped): 'fresh' | 'stale' | 'void' {
    const later = this.#records.slice(stamp).filter(({ selector }) => isMeant(selector, entry));
    if (later.some(({ kind }) => kind === 'purge')) return 'void';
    return later.length > 0 ? 'stale' : 'fresh';
  }
}

function isMeant(selector: Selector, entry: Stamped): boolean {
  if ('tag' in selector) return entry.tags.includes(selector.tag);
  if ('url' in selector) return entry.url === selector.url;
  if ('all' in selector) return true;
  return selector.pattern === '/:x' ? /^\/[^/]+$/.test(entry.path) : entry.path === selector.pattern;
}

type Step =
  | { do: 'append'; kind: RecordKind; selector: Selector; cause: Cause }
  | { do: 'store'; entry: Omit<Stamped, 'stamp'> }
  | { do: 'look'; which: number };

const tag = fc.constantFrom('a', 'b', 'c', 'constructor');
const path = fc.constantFrom('/a', '/b', '/a/b');
const query = fc.constantFrom('', '?q=1');
const selector = fc.oneof(
  { weight: 4, arbitrary: tag.map((name): Selector => ({ tag: name })) },
  { weight: 3, arbitrary: fc.tuple(path, query).map(([at, q]): Selector => ({ url: at + q })) },
  { weight: 2, arbitrary: fc.constantFrom('/:x', '/a', '/a/b').map((p): Selector => ({ pattern: p })) },
  { weight: 1, arbitrary: fc.constant<Selector>({ all: true }) },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('append' as const),
    kind: fc.constantFrom<RecordKind>('purge', 'expire'),
    selector,
    cause: fc.constantFrom<Cause>('app', 'client'),
  }),
  fc.record({
    do: fc.constant('store' as const),
    entry: fc
      .tuple(fc.uniqueArray(tag, { maxLength: 3 }), path, query)
      .map(([tags, at, q]) => ({ tags, path: at, url: at + q })),
  }),
  fc.record({ do: fc.constant('look' as const), which: fc.nat(20) }),
);

/** Runs the steps against both; `compare` runs after every check of an entry. */
function replay(
  steps: readonly Step[],
  bounds: LogBounds | undefined,
  compare: (got: string, wanted: string) => void,
): void {
  const clock = { now: 0 };
  const log = logAt(clock, bounds);
  const slow = new SlowLog(clock);
  const stored: { stamp: number; entry: Stamped }[] = [];
  const look = ({ stamp, entry }: { stamp: number; entry: Stamped }) => {
    const limit = log.limit(entry);
    const got = limit === VOID ? 'void' : limit === FRESH ? 'fresh' : 'stale';
    if (got === 'stale') expect(limit).toBeLessThanOrEqual(clock.now);
    compare(got, slow.verdict(stamp, entry));
  };
  for (const { ...each } of steps) {
    clock.now++;
    if (each.do === 'append') {
      // Without limits all records belong to the app, so that each is kept separately.
      void append(log, each.kind, each.selector, bounds && each.cause);
      slow.append(each.kind, each.selector);
    } else if (each.do === 'store') {
      stored.push({ stamp: log.position, entry: { ...each.entry, stamp: log.position } });
    } else if (stored.length > 0) {
      look(stored[each.which % stored.length]!);
    }
  }
  for (const one of stored) look(one);
}

describe('the log in memory, compared with its rule', () => {
  const steps = fc.array(step, { maxLength: 60 });

  it('keeps an entry valid if no later record matches, in any order of records and checks [H07]', () => {
    fc.assert(
      fc.property(steps, (given) => replay(given, undefined, (got, wanted) => expect(got).toBe(wanted))),
      { numRuns: 2000 },
    );
  });

  it('never calls void entries valid, nor stale ones fresh, at its bounds [H07, I-BOUND]', () => {
    const rank = { fresh: 2, stale: 1, void: 0 } as Record<string, number>;
    const never = (got: string, wanted: string) => expect(rank[got]).toBeLessThanOrEqual(rank[wanted]!);
    const bounds = { maxNames: 2, maxPatterns: 1, clientBuckets: 3 };
    fc.assert(
      fc.property(steps, (given) => replay(given, bounds, never)),
      { numRuns: 2000 },
    );
  });
});
