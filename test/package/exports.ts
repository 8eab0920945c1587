/** All values that each subpath exports, and the packages that loading it may load (with their dependencies). */
export interface Subpath {
  readonly names: readonly string[];
  readonly packages: readonly string[];
}

/** Packages for reading a config. */
const config = ['fastest-levenshtein', 'path-to-regexp', 'valibot'];

export const subpaths: Readonly<Record<string, Subpath>> = {
  hotpath: {
    names: [
      'HotpathError',
      'TRACKING_PARAMETERS',
      'cacheControl',
      'cacheOf',
      'collectWorkerMetrics',
      'compression',
      'configFromEnv',
      'currentRun',
      'databaseFromEnv',
      'defineConfig',
      'hotpath',
      'isHotpathError',
      'metrics',
      'responseCache',
      'shareMetrics',
      'sizeLimit',
      'timing',
      'timingOf',
    ],
    packages: [...config, 'cockatiel', 'compression', 'lru-cache', 'prom-client'],
  },
  'hotpath/admin': {
    names: [
      'basicAuth',
      'dashboard',
      'endOnShutdown',
      'eventLoopCheck',
      'health',
      'performanceApi',
      'postgresCheck',
      'readinessGate',
      'shutdown',
    ],
    packages: config,
  },
  'hotpath/assets': {
    names: ['staticAssets'],
    packages: [...config, 'encodeurl', 'escape-html', 'mime-types', 'send'],
  },
  'hotpath/cache': {
    names: ['TRACKING_PARAMETERS', 'cacheOf', 'currentRun', 'responseCache'],
    packages: [...config, 'cockatiel', 'lru-cache'],
  },
  'hotpath/cache-control': { names: ['cacheControl'], packages: config },
  'hotpath/compression': { names: ['compression'], packages: [...config, 'compression'] },
  'hotpath/metrics': {
    names: ['collectWorkerMetrics', 'metrics', 'shareMetrics'],
    packages: [...config, 'prom-client'],
  },
  'hotpath/postgres': {
    names: ['changesMigration', 'monitorOf', 'monitorPool', 'poolOptionsFromEnv', 'postgres'],
    packages: [...config, 'cockatiel', 'prom-client'],
  },
  'hotpath/size-limit': { names: ['sizeLimit'], packages: config },
  'hotpath/warming': { names: ['warming'], packages: [...config, 'cockatiel', 'lru-cache', 'prom-client'] },
  'hotpath/timing': { names: ['timing', 'timingOf'], packages: config },
};
