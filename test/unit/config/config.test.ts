import { Redis } from 'ioredis';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  type CacheOptions,
  type CacheSettings,
  resolveCacheRule,
  resolveCacheStandalone,
} from '../../../src/cache/options.js';
import { defineConfig, type HotpathConfig, resolveConfig } from '../../../src/config.js';
import { resolveCacheControlStandalone } from '../../../src/middleware/cache-control/options.js';
import { resolveCompressionStandalone } from '../../../src/middleware/compression/options.js';
import { resolveSizeLimitStandalone } from '../../../src/middleware/size-limit/options.js';
import { HotpathError, isHotpathError } from '../../../src/options/errors.js';

/** The messages of a config error, as `path: message`. */
function problemsOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (isHotpathError(error))
      return (error.problems ?? []).map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
}
const cacheSettings = (cache: CacheOptions = {}) => resolveConfig({ cache }).cache as CacheSettings;
const problems = (config: unknown) => problemsOf(() => resolveConfig(config as HotpathConfig));
const paths = (config: unknown) => problems(config).map((line) => line.slice(0, line.indexOf(': ')));

describe('resolveConfig', () => {
  it('fills in the documented defaults for nothing, {}, undefined, true and no prototype', () => {
    const { routes, ...sections } = resolveConfig();
    expect(routes.size).toBe(0);
    expect(sections).toMatchObject({
      timing: { header: 'X-Response-Time', serverTiming: true, slow: false },
      metrics: { defaultMetrics: true, maxSeries: 2000 },
      sizeLimit: { limit: 10_485_760 },
      cacheControl: { default: { noCache: true } },
      cache: {
        memory: { maxBytes: 67_108_864, maxEntries: 10_000 },
        maxEntryBytes: 1_048_576,
        hitForMiss: 120,
        refreshConcurrency: 32,
        refreshHeaders: {},
        refreshRefused: 'foreground',
        noBackgroundRefresh: 120,
        refreshBackoff: 1,
      },
      compression: {
        threshold: 1024,
        level: 6,
        brotliQuality: 4,
        encodings: ['br', 'gzip'],
        minimumGain: 0.1,
      },
    });
    expect(sections).toMatchObject({ alerts: false, log: false, loadShedding: false });
    const isOff = (name: string) => ['alerts', 'log', 'loadShedding'].includes(name);
    const all = (value: true | undefined) => {
      const names = Object.keys(sections).filter((name) => !isOff(name));
      return Object.fromEntries(names.map((name) => [name, value])) as HotpathConfig;
    };
    const emptyOptions = {
      cache: { memory: undefined, profile: undefined },
      sizeLimit: { limit: undefined },
    };
    for (const config of [{}, all(undefined), all(true), Object.create(null), emptyOptions]) {
      const { routes: _, ...others } = resolveConfig(config);
      expect(others).toEqual(sections);
    }
  });

  it('reads the headers of background refreshes and lowercases their names', () => {
    const { refreshHeaders } = cacheSettings({ refreshHeaders: { 'X-Origin-Verify': 's3cret', 'x-b': 'ö' } });
    expect(refreshHeaders).toEqual({ 'x-origin-verify': 's3cret', 'x-b': 'ö' });
    expect(Object.isFrozen(refreshHeaders)).toBe(true);
  });

  it.each<[CacheOptions, RegExp]>([
    [{ refreshConcurrency: 0 }, /cache\.refreshConcurrency: expected a whole number from 1 to 10000.*0/],
    [
      { refreshRefused: 'never' as never },
      /cache\.refreshRefused: expected 'foreground' or 'stale'.*'never'/,
    ],
    [{ noBackgroundRefresh: 0 }, /cache\.noBackgroundRefresh: expected a duration greater than 0/],
    [{ refreshBackoff: '1 ms' as never }, /cache\.refreshBackoff: expected .*seconds/],
    [
      { refreshHeaders: 'x: y' as never },
      /cache\.refreshHeaders: expected an object with names of request headers/,
    ],
    [{ refreshHeaders: { 'x y': '1' } }, /cache\.refreshHeaders\['x y'\]: expected a name/],
    [
      { refreshHeaders: { Host: 'a' } },
      /cache\.refreshHeaders\.Host: expected a field that is not one of `Host`/,
    ],
    [{ refreshHeaders: { 'If-None-Match': '*' } }, /cache\.refreshHeaders\['If-None-Match'\]: expected/],
    [{ refreshHeaders: { a: 's3cret\r\nx: y' } }, /cache\.refreshHeaders\.a: .*a string of 12 characters/],
    [{ refreshHeaders: { a: '嘊' } }, /cache\.refreshHeaders\.a: expected the value of a header: Latin-1/],
  ])('rejects %j without writing down a secret', (options, message) => {
    expect(() => cacheSettings(options)).toThrow(message);
    expect(() => cacheSettings(options)).not.toThrow(/s3cret/);
  });

  it('reads targeted cache fields only with the standard profile or the app option', () => {
    expect(cacheSettings().targets).toEqual([]);
    expect(cacheSettings({ profile: 'rfc9111' }).targets).toEqual(['cdn-cache-control', 'surrogate-control']);
    expect(cacheSettings({ profile: 'rfc9111', targets: [] }).targets).toEqual([]);
    expect(cacheSettings({ targets: ['Shop-Cache-Control'] }).targets).toEqual(['shop-cache-control']);
    expect(problemsOf(() => cacheSettings({ targets: ['Cache-Control'] }))).toEqual([
      "cache.targets[0]: expected a field for some caches only, such as 'CDN-Cache-Control'",
    ]);
  });

  it('turns a section off with false', () => {
    const off = {
      timing: false,
      metrics: false,
      sizeLimit: false,
      cacheControl: false,
      cache: false,
      compression: false,
    };
    expect(resolveConfig(off)).toMatchObject(off);
  });

  it('converts units and completes a route with the values of its section', () => {
    const tags = () => ['x'];
    const { routes } = resolveConfig({
      routes: {
        '/a': {
          cache: { ttl: '1h', tags, vary: { headers: ['Accept-Language'], cookies: [] }, collapse: true },
        },
        '/b': { cache: false, compression: false, sizeLimit: false, cacheControl: false },
        '/c': { compression: { level: 9 }, sizeLimit: '50mb', cacheControl: 'immutable' },
        '/d': { compression: true },
      },
      compression: { threshold: '2kb' },
    });
    expect(routes.match('/a')?.policy).toEqual({
      cache: {
        ttl: 3600,
        jitter: 0,
        statuses: new Set([200, 301, 308]),
        tags,
        vary: { headers: ['accept-language'], cookies: [] },
        ignoreQuery: [],
        shared: false,
        collapse: 'instance',
      },
    });
    expect(routes.match('/b')?.policy).toEqual({
      cache: false,
      compression: false,
      sizeLimit: false,
      cacheControl: false,
    });
    expect(routes.match('/c')?.policy).toEqual({
      compression: { threshold: 2048, level: 9, brotliQuality: 4, zstdLevel: 3, flushAfter: 0.02 },
      sizeLimit: 52_428_800,
      cacheControl: { public: true, maxAge: 31_536_000, immutable: true },
    });
    expect(routes.match('/d')?.policy.compression).toEqual({
      threshold: 2048,
      level: 6,
      brotliQuality: 4,
      zstdLevel: 3,
      flushAfter: 0.02,
    });
  });

  it('freezes its result at every depth, and never changes or freezes the input', () => {
    const registry = new Registry();
    const config = defineConfig({
      routes: { '/a': { cache: { ttl: 1, tags: ['t'], vary: { query: ['q'] } } } },
      cache: { memory: { maxBytes: '1mb' } },
      metrics: { registry, buckets: [1, 2] },
    });
    const before = structuredClone({ ...config, metrics: { buckets: [1, 2] } });
    const resolved = resolveConfig(config);
    const seen = (value: unknown): void => {
      if (typeof value !== 'object' || value === null || value === registry || value instanceof Set) return;
      expect(Object.isFrozen(value), JSON.stringify(value)).toBe(true);
      for (const each of Object.values(value)) seen(each);
    };
    seen(resolved);
    seen(resolved.routes.match('/a')?.policy);
    expect({ ...config, metrics: { buckets: [1, 2] } }).toEqual(before);
    for (const own of [config, config.routes, config.routes?.['/a']?.cache, config.cache, registry]) {
      expect(Object.isFrozen(own)).toBe(false);
    }
    expect(resolved.metrics).toMatchObject({ registry });
  });

  it.each([[false], [true], [null], ['cache'], [[]], [5], [() => {}], [new Date()]])(
    'rejects %j as a config [K06]',
    (config) => {
      expect(problems(config)).toEqual(['config: expected an object of options']);
    },
  );

  it('lists every mistake of every section in one error [K06]', () => {
    const config = {
      cahce: {},
      routes: {
        '/assets/*': { cacheControl: 'forever' },
        '/a': { cache: { ttl: '5 min', staleIfError: -1 }, sizelimit: 1 },
        '/b': { cache: { staleWhileRevalidate: '5m' }, compression: { level: 10 } },
        '/c': { cache: { ttl: 1, shared: true, partition: () => 'x' } },
      },
      timing: { slow: '500 ms', requestId: { header: 'a b' } },
      metrics: { buckets: [2, 1], registry: {} },
      sizeLimit: { limit: '10 mbb' },
      cacheControl: { default: { public: true, private: true } },
      cache: { memory: { maxEntires: 5, maxBytes: 0 }, profile: 'fast', redis: { url: 'http://x' } },
      compression: { encodings: ['zstd'], minimumGain: 2, filter: true },
    };
    expect(paths(config).sort()).toEqual(
      [
        'cahce',
        "routes['/assets/*']",
        "routes['/assets/*'].cacheControl",
        "routes['/a'].cache.ttl",
        "routes['/a'].cache.staleIfError",
        "routes['/a'].sizelimit",
        "routes['/b'].cache.staleWhileRevalidate",
        "routes['/b'].compression.level",
        "routes['/c'].cache.shared",
        'timing.slow',
        'timing.requestId.header',
        'metrics.buckets',
        'metrics.registry',
        'sizeLimit.limit',
        'cacheControl.default.public',
        'cache.memory.maxEntires',
        'cache.memory.maxBytes',
        'cache.profile',
        'cache.redis.url',
        'compression.encodings',
        'compression.minimumGain',
        'compression.filter',
      ].sort(),
    );
    expect(() => resolveConfig(config as never)).toThrow(
      /22 problems[\s\S]*sizeLimit\.limit: expected a size such as '64mb' or a number of bytes, received '10 mbb'/,
    );
  });

  it('suggests the intended option, and never a name from Object.prototype [K06]', () => {
    expect(problems({ cache: { memory: { mxEntries: 1 } } })).toEqual([
      "cache.memory.mxEntries: unknown option; did you mean 'maxEntries'?",
    ]);
    expect(problems({ toString: 1, constructor: 1 })).toHaveLength(2);
    expect(problems({ sizeLimit: { completelyDifferent: 1 } })[0]).toMatch(/known are limit/);
  });
});

describe('limits that are no size never turn the guard off [F06]', () => {
  it.each([
    ['10 mbb'],
    [Number.NaN],
    [{}],
    [-1],
    [''],
    [Number.POSITIVE_INFINITY],
    [null],
    [false],
    [true],
    [[]],
  ])('rejects limit %j', (limit) => {
    expect(() => resolveConfig({ sizeLimit: { limit } } as never)).toThrow(HotpathError);
    expect(paths({ sizeLimit: { limit } })).toEqual(['sizeLimit.limit']);
  });
  it.each([
    [
      { cache: { ttl: '1h' } },
      /^cache\.ttl: .*Write it as \{ routes: \{ '\/path': \{ cache: \{ ttl: … \} \} \} \}$/,
    ],
    [{ cache: { routes: {} } }, /^cache\.routes: .*Write it as \{ routes: … \}/],
    [
      { routes: { '/a': { ttl: '1h' } } },
      /^routes\['\/a'\]\.ttl: .*\{ '\/path': \{ cache: \{ ttl: … \} \} \}/,
    ],
    [{ ttl: '1h' }, /^ttl: .*Write it as \{ routes: \{ '\/path': \{ cache: \{ ttl: … \} \} \} \}/],
    [
      { redis: {} },
      /^redis: unknown option; known are routes, .*\. Write it as \{ cache: \{ redis: … \} \}$/,
    ],
    [{ maxBytes: 1 }, /^maxBytes: .*Write it as \{ cache: \{ memory: \{ maxBytes: … \} \} \}/],
    [
      { compression: { onSlow: () => {} } },
      /^compression\.onSlow: .*Write it as \{ timing: \{ onSlow: … \} \}/,
    ],
    [
      { level: 6 },
      /as \{ routes: \{ '\/path': \{ compression: \{ level: … \} \} \} \} or \{ log: \{ level: … \} \} or/,
    ],
    [{ routes: { '/a': { cache: { cache: { ttl: '1h' } } } } }, /\.cache\.cache: .*without `cache` around/],
    [{ '/a': { cache: { ttl: '1h' } } }, /a path; write it in `routes`: \{ routes: \{ '\/a':/],
    [{ cache: { redis: 'redis://localhost' } }, /such as \{ url: 'redis:\/\/localhost:6379' \}/],
  ])('says where an option belongs that is in the wrong place: %j', (config, expected) => {
    expect(problems(config)).toEqual([expect.stringMatching(expected)]);
  });

  it.each([
    [60_000, '16.7 hours'],
    [5000, '1.4 hours'],
    [900_000, '10.4 days'],
    [3_600_000, '41.7 days'],
  ])('warns of the plain number %d for a duration, which is probably in milliseconds', (ttl, time) => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      expect(
        resolveConfig({ routes: { '/a': { cache: { ttl } } } }).routes.match('/a')?.policy,
      ).toMatchObject({
        cache: { ttl },
      });
      expect(warn.mock.calls).toEqual([
        [
          `hotpath: routes['/a'].cache.ttl is the plain number ${ttl}, which counts as seconds: ${time}; ` +
            `write '${ttl}ms' if it is in milliseconds, otherwise '${ttl}s'`,
          expect.objectContaining({ code: 'HOTPATH_DURATION_UNIT' }),
        ],
      ]);
    } finally {
      warn.mockRestore();
    }
  });

  it('does not warn of usual numbers of seconds, nor of durations with a unit', () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      for (const ttl of [
        60,
        1000,
        3600,
        5400,
        36_000,
        86_400,
        604_800,
        2_592_000,
        31_536_000,
        '60000s',
        '60000ms',
      ]) {
        resolveConfig({ routes: { '/a': { cache: { ttl: ttl as number } } } });
      }
      expect(() => resolveConfig({ timing: { slow: 60_000 }, nothing: 1 } as never)).toThrow(/1 problem\)/);
      expect(warn).not.toHaveBeenCalled();
    } finally {
      warn.mockRestore();
    }
  });

  it('uses the default for undefined', () => {
    expect(resolveConfig({ sizeLimit: { limit: undefined, brotliWindow: undefined } }).sizeLimit).toEqual({
      limit: 10_485_760,
      brotliWindow: 22,
      zstdWindow: 23,
      respond: 'problem',
      decoderMemory: 67_108_864,
    });
  });
  it('rejects the same limit in a route', () => {
    for (const sizeLimit of ['10 mbb', null, {}, true]) {
      expect(paths({ routes: { '/a': { sizeLimit } } })).toEqual(["routes['/a'].sizeLimit"]);
    }
  });
});

describe('prototype pollution [K05]', () => {
  afterEach(() => {
    delete (Object.prototype as Record<string, unknown>).ttl;
  });

  it.each([
    ['{"__proto__":{"enabled":false}}', '__proto__'],
    ['{"cache":{"memory":{"__proto__":{"enabled":false}}}}', 'cache.memory.__proto__'],
    [
      '{"routes":{"/a":{"cache":{"ttl":1,"vary":{"__proto__":{"enabled":false}}}}}}',
      "routes['/a'].cache.vary.__proto__",
    ],
    ['{"routes":{"__proto__":{"sizeLimit":false}}}', 'routes.__proto__'],
  ])('rejects %s by name and pollutes nothing [K05]', (json, path) => {
    expect(paths(JSON.parse(json))).toEqual([path]);
    expect(({} as Record<string, unknown>).enabled).toBeUndefined();
  });

  it('takes no option from a polluted Object.prototype [K05]', () => {
    (Object.prototype as Record<string, unknown>).ttl = 60;
    expect(Object.hasOwn(resolveCacheRule({}), 'ttl')).toBe(false);
  });
});

describe('contradictory rules', () => {
  it.each([
    [{ staleWhileRevalidate: 1 }, 'staleWhileRevalidate'],
    [{ staleIfError: 1 }, 'staleIfError'],
    [{ softTimeout: 1 }, 'softTimeout'],
    [{ jitter: 0.1 }, 'jitter'],
    [{ eagerRefresh: 0.8 }, 'eagerRefresh'],
    [{ eagerRefresh: 0, ttl: 1 }, 'eagerRefresh'],
    [{ eagerRefresh: 1, ttl: 1 }, 'eagerRefresh'],
    [{ eagerRefresh: '80%', ttl: 1 }, 'eagerRefresh'],
    [{ ttl: 1, shared: true, partition: () => 1 }, 'shared'],
    [{ ttl: 1, timeout: 1, softTimeout: 2 }, 'softTimeout'],
    [{ statuses: [200, 206] }, 'statuses'],
    [{ statuses: [304] }, 'statuses'],
    [{ statuses: [] }, 'statuses'],
    [{ statuses: ['200'] }, 'statuses'],
    [{ statuses: [199] }, 'statuses'],
    [{ statuses: [600] }, 'statuses'],
    [{ vary: { query: ['a'] }, ignoreQuery: ['b'] }, 'ignoreQuery'],
    [{ ignoreQuery: ['*'] }, 'ignoreQuery[0]'],
    [{ vary: { headers: ['*'] } }, 'vary.headers[0]'],
    [{ ttl: 0 }, 'ttl'],
    [{ timeout: '25h' }, 'timeout'],
    [{ jitter: 1.5, ttl: 1 }, 'jitter'],
    [{ tags: 'products' }, 'tags'],
    [{ tags: [''] }, 'tags[0]'],
  ])('rejects the cache rule %j, at %s alone [K06]', (rule, key) => {
    const found = problemsOf(() => resolveCacheRule(rule as never));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(`rule.${key}: `);
  });

  it.each([206, 304, 401, 407, 408, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431])(
    'rejects %i in statuses, because it belongs to one request or client [K06, A11]',
    (status) => {
      expect(problemsOf(() => resolveCacheRule({ statuses: [200, status] }))[0]).toContain(String(status));
    },
  );

  it('suggests cache: false in place of a ttl of 0', () => {
    expect(() => resolveCacheRule({ ttl: 0 })).toThrow(/cache: false/);
  });

  it.each([
    [{ public: true, private: true }, 'public'],
    [{ noStore: true, maxAge: 1 }, 'maxAge'],
    [{ noStore: true, public: true }, 'public'],
    [{ immutable: true }, 'immutable'],
    [{ private: true, sMaxage: 1 }, 'sMaxage'],
    [{ maxAge: 1, staleIfError: 1, mustRevalidate: true }, 'staleIfError'],
    [{ maxAge: 0.5 }, 'maxAge'],
    [{}, 'maxAge'],
  ])('rejects the Cache-Control policy %j [K06]', (policy, key) => {
    expect(problems({ cacheControl: { default: policy } })[0]).toMatch(`cacheControl.default.${key}: `);
  });

  it('accepts no-store with a lifetime beside must-understand (RFC 9111 §5.2.2.3)', () => {
    const policy = { mustUnderstand: true, noStore: true, maxAge: '1m' } as const;
    expect(resolveConfig({ cacheControl: { default: policy } }).cacheControl).toEqual({
      default: { mustUnderstand: true, noStore: true, maxAge: 60 },
    });
  });

  it('limits the largest entry to the memory tier, and rejects one that cannot fit', () => {
    expect(cacheSettings({ memory: { maxBytes: '512kb' } }).maxEntryBytes).toBe(524_288);
    expect(() => cacheSettings({ memory: { maxBytes: '512kb' }, maxEntryBytes: '1mb' })).toThrow(
      /cache\.maxEntryBytes/,
    );
  });

  it('ignores a Redis section without an address', () => {
    expect(cacheSettings({ redis: { url: undefined } }).redis).toBeUndefined();
    expect(cacheSettings({ redis: { url: 'rediss://h:1' } }).redis).toEqual({
      source: { url: 'rediss://h:1' },
      prefix: 'hotpath:',
      readTimeout: 0.05,
      writeTimeout: 0.25,
    });
  });

  it('accepts one of an ioredis client, its options or a URL, and names any other value', () => {
    const client = new Redis({ lazyConnect: true });
    expect(cacheSettings({ redis: { client } }).redis?.source).toEqual({ client });
    expect(cacheSettings({ redis: { options: { host: 'h' } } }).redis?.source).toEqual({
      options: { host: 'h' },
    });
    expect(() => cacheSettings({ redis: { client, url: 'redis://h' } })).toThrow(
      /cache\.redis\.url.*conflicts with another address/,
    );
    expect(() => cacheSettings({ redis: { client: {} as never } })).toThrow(/cache\.redis\.client.*ioredis/);
    expect(() => cacheSettings({ redis: { url: 'redis://h', readTimeout: 0 } })).toThrow(
      /cache\.redis\.readTimeout/,
    );
    expect(() => cacheSettings({ redis: { url: 'redis://h', wait: { replicas: 0 } } })).toThrow(
      /wait\.replicas/,
    );
  });
});

describe('standalone options', () => {
  it('resolve to tables of the same shape as the composed config', () => {
    const compression = resolveCompressionStandalone({
      level: 3,
      routes: { '/a': false, '/b': { level: 1 } },
    });
    expect(compression.settings).not.toHaveProperty('routes');
    expect(compression.routes.match('/a')?.policy).toEqual({ compression: false });
    expect(compression.routes.match('/b')?.policy.compression).toMatchObject({ level: 1, threshold: 1024 });
    const cached = resolveCacheStandalone({ routes: { '/a': { ttl: '1m' } } });
    expect(cached.routes.match('/a')?.policy.cache).toMatchObject({ ttl: 60 });
    const sized = resolveSizeLimitStandalone({ limit: 5, routes: { '/a': '1kb' } });
    expect([sized.settings.limit, sized.routes.match('/a')?.policy]).toEqual([5, { sizeLimit: 1024 }]);
    const control = resolveCacheControlStandalone({ default: false, routes: { '/a': 'no-store' } });
    expect(control.settings.default).toBeUndefined();
    expect(control.routes.match('/a')?.policy).toEqual({ cacheControl: { noStore: true } });
  });

  it('name their own section in errors', () => {
    expect(() => resolveCompressionStandalone({ routes: { '/*': true } } as never)).toThrow(
      /compression\.routes\['\/\*'\]/,
    );
  });
});

it('are rejected at run time when the types reject them at compile time [K06]', () => {
  expect(
    problems(defineConfig({ sizeLimit: { limit: '10mb' }, routes: { '/a': { cache: { ttl: '1.5h' } } } })),
  ).toEqual([]);
  const rejected = [
    // @ts-expect-error a unit that does not exist
    defineConfig({ cache: { maxStaleness: '5 min' } }),
    // @ts-expect-error an unknown option
    defineConfig({ cache: { mxEntries: 1 } }),
    // @ts-expect-error null is not "absent"
    defineConfig({ sizeLimit: { limit: null } }),
  ];
  for (const config of rejected) expect(problems(config)).toHaveLength(1);
});
