import { describe, expect, it } from 'vitest';
import { resolveConfig } from '../../../src/config.js';
import { configFromEnv, databaseFromEnv } from '../../../src/environment.js';

describe('configFromEnv', () => {
  it('reads every variable, bare digits as seconds and bytes', () => {
    const base = { routes: { '/a': { cache: { tags: ['t'] } }, '/b': { cache: { ttl: 5 } }, '/c': {} } };
    const copy = structuredClone(base);
    const resolved = resolveConfig(
      configFromEnv(base, {
        COMPRESSION_THRESHOLD: '2kb',
        REDIS_URL: 'redis://cache:6379',
        CACHE_TTL: '90',
        CACHE_MAX_BYTES: '2097152',
        CACHE_MAX_ENTRIES: '50',
        REQUEST_SIZE_LIMIT: '1mb',
        SLOW_REQUEST: '0.5s',
        METRICS_ENABLED: 'off',
      }),
    );
    expect(resolved).toMatchObject({
      compression: { threshold: 2048 },
      cache: {
        redis: { source: { url: 'redis://cache:6379' } },
        memory: { maxBytes: 2_097_152, maxEntries: 50 },
      },
      sizeLimit: { limit: 1_048_576 },
      timing: { slow: 0.5 },
      metrics: false,
    });
    expect(resolved.routes.match('/a')?.policy.cache).toMatchObject({ ttl: 90 });
    expect(resolved.routes.match('/b')?.policy.cache).toMatchObject({ ttl: 5 });
    expect(resolved.routes.match('/c')?.policy.cache).toBeUndefined();
    expect(base).toEqual(copy);
  });

  it('keeps a configured Redis client or options when REDIS_URL is set', () => {
    const base = { cache: { redis: { options: { host: 'h' } } } };
    expect(configFromEnv(base, { REDIS_URL: 'redis://cache' })).toEqual(base);
  });

  it('overrides the config, and keeps options that no variable names', () => {
    const base = {
      sizeLimit: { limit: 1 },
      cache: { profile: 'rfc9111', memory: { maxBytes: 9, maxEntries: 3 } },
    } as const;
    expect(configFromEnv(base, { REQUEST_SIZE_LIMIT: '2', CACHE_MAX_BYTES: '10' })).toEqual({
      sizeLimit: { limit: 2 },
      cache: { profile: 'rfc9111', memory: { maxBytes: 10, maxEntries: 3 } },
    });
  });

  it.each([
    ['false', { threshold: 1 }, false],
    ['0', undefined, false],
    ['No', true, false],
    ['on', false, true],
    ['TRUE', { threshold: 1 }, { threshold: 1 }],
    ['1', undefined, true],
  ])('switches compression with %s over %j', (text, compression, expected) => {
    expect(configFromEnv({ compression }, { ENABLE_GZIP_COMPRESSION: text }).compression).toEqual(expected);
  });

  it('does not turn on a section that the config turns off', () => {
    const env = {
      CACHE_MAX_BYTES: '1mb',
      REDIS_URL: 'redis://h',
      COMPRESSION_THRESHOLD: '1',
      REQUEST_SIZE_LIMIT: '1',
    };
    const off = { cache: false, compression: false, sizeLimit: false };
    expect(configFromEnv(off, env)).toEqual(off);
  });

  it('ignores an empty variable', () => {
    expect(configFromEnv({}, { REDIS_URL: '', CACHE_TTL: ' ', METRICS_ENABLED: '' })).toEqual({});
  });

  it('names every malformed variable with its value, but no password [K06]', () => {
    const env = {
      ENABLE_GZIP_COMPRESSION: 'maybe',
      COMPRESSION_THRESHOLD: '1 kbb',
      REDIS_URL: 'http://user:hunter2@host',
      CACHE_TTL: '5 min',
      CACHE_MAX_BYTES: '0',
      CACHE_MAX_ENTRIES: '1.5',
      REQUEST_SIZE_LIMIT: '10 mbb',
      SLOW_REQUEST: '500 ms',
      SLOW_QUERY: '-1',
      METRICS_ENABLED: '2',
      DATABASE_URL: 'mysql://user:hunter2@host/db',
      DB_POOL_SIZE: 'ten',
    };
    let message = '';
    try {
      configFromEnv({}, env);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toContain('12 problems');
    for (const name of Object.keys(env)) expect(message).toContain(`\n  ${name}: expected `);
    expect(message).toContain("received '10 mbb'");
    expect(message).toContain("'http://***@host'");
    expect(message).not.toContain('hunter2');
  });

  it('leaves a mistake in the config itself to be reported with its path', () => {
    const base = { ...JSON.parse('{"routes":{"/a":{"cache":{"__proto__":{"x":1}}}}}'), cache: 5 };
    expect(() => resolveConfig(configFromEnv(base, { CACHE_TTL: '1m', CACHE_MAX_ENTRIES: '1' }))).toThrow(
      /2 problems[\s\S]*routes\['\/a'\]\.cache\.__proto__[\s\S]*cache: expected/,
    );
    expect(() => configFromEnv(null as never, {})).toThrow(/config: expected an object of options/);
  });
});

describe('databaseFromEnv', () => {
  it('reads the settings of PostgreSQL', () => {
    const env = { DATABASE_URL: 'postgres://u:p@h/db', DB_POOL_SIZE: '20', SLOW_QUERY: '0.2s' };
    expect(databaseFromEnv(env)).toEqual({ url: 'postgres://u:p@h/db', poolSize: 20, slowQuery: 0.2 });
    expect(databaseFromEnv({})).toEqual({});
  });

  it('rejects malformed values [K06]', () => {
    expect(() => databaseFromEnv({ DB_POOL_SIZE: '0', DATABASE_URL: 'h' })).toThrow(
      /DATABASE_URL[\s\S]*DB_POOL_SIZE/,
    );
  });
});
