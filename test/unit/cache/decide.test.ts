import { describe, expect, it } from 'vitest';
import { type Decision, decide, MAX_WAITS } from '../../../src/cache/decide.js';
import type { Lookup } from '../../../src/cache/lookup/lookup.js';
import type { Permission } from '../../../src/cache/lookup/reuse.js';
import type { CacheRequest } from '../../../src/cache/request/cache-request.js';
import { RangeUnits } from '../../../src/cache/request/range-units.js';
import { resolveCacheRule } from '../../../src/cache/rule.js';
import type { CacheState } from '../../../src/cache/state.js';

const NOW = 1_000_000;

interface Given {
  /** The permission of the stored response; absent: nothing is stored. */
  readonly stored?: Permission;
  readonly forward?: Lookup['forward'];
  /** Without a lifetime, nothing says that the response may be stored. */
  readonly ttl?: number | undefined;
  readonly collapse?: boolean;
  readonly eagerRefresh?: number;
  readonly alwaysValidate?: boolean;
  readonly explicitlyShared?: boolean;
  readonly credential?: string;
  readonly partition?: string;
  readonly directives?: CacheRequest['directives'];
  readonly method?: string;
  readonly range?: string;
  readonly hasApp?: boolean;
  readonly staleUse?: 'refresh' | 'wait' | 'foreground';
  readonly isRefused?: boolean;
  readonly isFilling?: boolean;
  readonly waits?: number;
}

function decisionOf(given: Given): Decision {
  const { stored, ttl = 60, collapse = true, eagerRefresh, method = 'GET', range, hasApp = true } = given;
  const entry = {
    key: 'k',
    headers: [],
    storedAt: NOW - 50_000,
    freshUntil: NOW + 10_000,
    initialAge: 0,
    explicitlyShared: given.explicitlyShared === true,
    reuse: { alwaysValidate: given.alwaysValidate === true },
  };
  const state = {
    clock: () => NOW,
    rangeUnits: new RangeUnits(),
    refreshMarks: { useOf: () => given.staleUse ?? 'refresh', mayRefresh: () => given.staleUse !== 'wait' },
    collapser: {
      isRefused: () => given.isRefused === true,
      current: () => (given.isFilling ? {} : undefined),
    },
  } as unknown as CacheState;
  const request = {
    key: 'k',
    credential: given.credential,
    partition: given.partition,
    directives: given.directives,
    rule: 'ttl' in given && !given.ttl ? undefined : resolveCacheRule({ ttl, collapse, eagerRefresh }),
    context: { req: { method, headers: range === undefined ? {} : { range } } },
  } as unknown as CacheRequest;
  const found = (
    stored
      ? { entry, permission: stored, forward: given.forward ?? (stored === 'fresh' ? 'request' : 'stale') }
      : { forward: 'uri-miss' }
  ) as Lookup;
  return decide(state, request, found, given.waits ?? 0, hasApp);
}

describe('the decision about a request', () => {
  const leads = { kind: 'fill', leads: true };
  const alone = { kind: 'fill', leads: false };

  it.each<[what: string, given: Given, expected: object]>([
    ['serves a fresh response', { stored: 'fresh' }, { kind: 'hit', isEager: false }],
    ['refreshes eagerly', { stored: 'fresh', eagerRefresh: 0.8 }, { kind: 'hit', isEager: true }],
    ['refreshes eagerly only when due', { stored: 'fresh', eagerRefresh: 0.9 }, { isEager: false }],
    ['refreshes eagerly once', { stored: 'fresh', eagerRefresh: 0.8, isFilling: true }, { isEager: false }],
    ['pauses eager refreshes', { stored: 'fresh', eagerRefresh: 0.8, staleUse: 'wait' }, { isEager: false }],
    [
      'makes no eager refresh of a partition',
      { stored: 'fresh', eagerRefresh: 0.8, partition: 'p' },
      { isEager: false },
    ],
    [
      'does not serve a stale one by max-stale after its end [H11]',
      { stored: 'fresh', forward: 'stale', staleUse: 'foreground' },
      leads,
    ],
    ['serves a stale one by max-stale', { stored: 'fresh', forward: 'stale' }, { kind: 'hit' }],
    ['answers only-if-cached', { directives: { onlyIfCached: true } as never }, { kind: 'gateway-timeout' }],
    [
      'answers only-if-cached before it serves a stale response',
      { stored: 'while-revalidate', directives: { onlyIfCached: true } as never },
      { kind: 'gateway-timeout' },
    ],
    ['serves stale', { stored: 'while-revalidate' }, { kind: 'stale', isPaused: false }],
    [
      'serves stale without a refresh after a failure',
      { stored: 'if-error', staleUse: 'wait' },
      { kind: 'stale', isPaused: true },
    ],
    ['waits for a refresh within stale-if-error', { stored: 'if-error' }, { kind: 'refresh' }],
    ['waits for a limited number of refreshes', { stored: 'if-error', waits: MAX_WAITS }, leads],
    ['ends stale serving [H11]', { stored: 'while-revalidate', staleUse: 'foreground' }, leads],
    ['does not refresh without an app', { stored: 'while-revalidate', hasApp: false }, leads],
    ['does not refresh a partition', { stored: 'while-revalidate', partition: 'p' }, leads],
    ['validates a stale response', { stored: 'validate' }, leads],
    ['leads a fill', {}, leads],
    ['waits for a fill', { isFilling: true }, { kind: 'wait' }],
    [
      'waits for a limited number of fills',
      { isFilling: true, waits: MAX_WAITS },
      { ...alone, detail: 'collapse-failed' },
    ],
    ['does not collapse what nothing declares storable', { ttl: undefined, isFilling: true }, alone],
    [
      'collapses what was stored before',
      { ttl: undefined, stored: 'validate', isFilling: true },
      { kind: 'wait' },
    ],
    ['does not collapse where the rule forbids it', { collapse: false, isFilling: true }, alone],
    ['does not collapse credentials [B21]', { credential: 'cookie', isFilling: true }, alone],
    [
      'lets credentials lead for a shared response [H03]',
      { credential: 'cookie', stored: 'while-revalidate', hasApp: false, explicitlyShared: true },
      leads,
    ],
    [
      'does not let credentials lead for another response [B21]',
      { credential: 'cookie', stored: 'while-revalidate', hasApp: false },
      alone,
    ],
    [
      'does not let credentials lead after the windows [B21]',
      { credential: 'cookie', stored: 'validate', explicitlyShared: true },
      alone,
    ],
    ['does not collapse no-cache', { directives: { noCache: true } as never, isFilling: true }, alone],
    ['does not collapse a HEAD', { method: 'HEAD', isFilling: true }, alone],
    ['does not collapse a range', { range: 'bytes=0-1', isFilling: true }, { ...alone, detail: 'range' }],
    ['serves a range of a fresh response', { stored: 'fresh', range: 'bytes=0-1' }, { kind: 'hit' }],
    ['does not collapse after a refusal', { isRefused: true, isFilling: true }, alone],
    ['does not collapse no-cache responses', { stored: 'validate', alwaysValidate: true }, alone],
  ])('%s', (_what, given, expected) => {
    expect(decisionOf(given)).toMatchObject(expected);
  });
});
