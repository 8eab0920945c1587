// The contenders and their abilities.
import type { Settings } from '../contenders/settings.mjs';
import { startNginx, startVarnish } from './proxies.mjs';
import { type NodeOptions, type Running, startNode } from './servers.mjs';

export type Coding = 'identity' | 'gzip' | 'br';

export interface Contender {
  readonly id: string;
  readonly label: string;
  /** A note for readers of the figures. */
  readonly note: string;
  /** Packages whose versions the report lists. */
  readonly packages: readonly string[];
  /** Codings of its responses. */
  readonly codings: readonly Coding[];
  /** Whether a hit is served without running a handler. */
  readonly isCache: boolean;
  /** Whether it replays hotpath's response. */
  readonly isReplay?: boolean;
  /** Whether it supports the purge storm. */
  readonly canPurge?: boolean;
  readonly start: (settings: Settings, options?: NodeOptions) => Promise<Running>;
}

const ALL = ['identity', 'gzip', 'br'] as const;
const node = (file: string) => (settings: Settings, options?: NodeOptions) =>
  startNode(`contenders/${file}.mts`, settings, options);

export const CONTENDERS: readonly Contender[] = [
  {
    id: 'bare',
    label: 'node:http, the body alone',
    note: 'same body; no header lines but Content-Type, Content-Length and what Node adds',
    packages: [],
    codings: ALL,
    isCache: true,
    isReplay: true,
    start: node('bare'),
  },
  {
    id: 'bare-same-headers',
    label: 'node:http, the same bytes',
    note: 'same body and the very header lines that hotpath sends',
    packages: [],
    codings: ALL,
    isCache: true,
    isReplay: true,
    start: node('bare-same-headers'),
  },
  {
    id: 'hotpath-front',
    label: 'hotpath, front door',
    note: 'perf.attach(app); timing, metrics, size limit, Cache-Control, compression and cache on',
    packages: ['hotpath'],
    codings: ALL,
    isCache: true,
    canPurge: true,
    start: node('hotpath-front'),
  },
  {
    id: 'express-raw',
    label: 'Express 5, raw first middleware',
    note: 'writeHead and end of a prepared buffer, before anything else of the app',
    packages: ['express'],
    codings: ALL,
    isCache: true,
    isReplay: true,
    start: node('express-raw'),
  },
  {
    id: 'hotpath',
    label: 'hotpath inside Express',
    note: 'app.use(perf); timing, metrics, size limit, Cache-Control, compression and cache on',
    packages: ['hotpath'],
    codings: ALL,
    isCache: true,
    canPurge: true,
    start: node('hotpath'),
  },
  {
    id: 'hotpath-behind',
    label: 'hotpath inside Express, behind its front door',
    note: 'perf.attach(app), and rules that share nothing, so that hits are answered inside; everything on',
    packages: ['hotpath'],
    codings: ALL,
    isCache: true,
    start: node('hotpath-behind'),
  },
  {
    id: 'apicache',
    label: 'apicache',
    note: 'alone: without compression, metrics and response times',
    packages: ['apicache'],
    codings: ['identity'],
    isCache: true,
    canPurge: true,
    start: node('apicache'),
  },
  {
    id: 'assembled',
    label: 'the assembled stack',
    note: 'response-time, express-prom-bundle, compression and apicache',
    packages: ['response-time', 'express-prom-bundle', 'compression', 'apicache'],
    codings: ALL,
    isCache: true,
    canPurge: true,
    start: node('assembled'),
  },
  {
    id: 'ocache',
    label: 'ocache in a handler',
    note: 'under Express with compression; a small adapter of ours to Request and Response',
    packages: ['ocache'],
    codings: ALL,
    isCache: true,
    start: node('ocache'),
  },
  {
    id: 'cacheable',
    label: 'cacheable in a handler',
    note: 'under Express with compression; keeps finished JSON; purged by key, as it has no tags',
    packages: ['cacheable'],
    codings: ALL,
    isCache: true,
    canPurge: true,
    start: node('cacheable'),
  },
  {
    id: 'bentocache',
    label: 'bentocache in a handler',
    note: 'under Express with compression; keeps finished JSON, memory driver without serialisation',
    packages: ['bentocache'],
    codings: ALL,
    isCache: true,
    canPurge: true,
    start: node('bentocache'),
  },
  {
    id: 'fastify',
    label: 'Fastify with @fastify/caching',
    note: '@fastify/compress; the handler keeps finished JSON in the cache of @fastify/caching',
    packages: ['fastify', '@fastify/caching', '@fastify/compress'],
    codings: ALL,
    isCache: true,
    start: node('fastify'),
  },
  {
    id: 'express',
    label: 'Express 5 alone',
    note: 'no cache: every request runs the handler',
    packages: ['express'],
    codings: ['identity'],
    isCache: false,
    start: node('express'),
  },
  {
    id: 'express-compression',
    label: 'Express 5 and compression',
    note: 'no cache: every request runs the handler and is compressed',
    packages: ['express', 'compression'],
    codings: ALL,
    isCache: false,
    start: node('express-compression'),
  },
  {
    id: 'nginx',
    label: 'nginx (proxy_cache)',
    note: 'one worker, cache in memory, before Express with compression',
    packages: [],
    codings: ALL,
    isCache: true,
    start: () => startNginx(),
  },
  {
    id: 'varnish',
    label: 'Varnish',
    note: 'on one core, cache in memory, before Express with compression',
    packages: [],
    codings: ALL,
    isCache: true,
    start: () => startVarnish(),
  },
  {
    id: 'bare-redis',
    label: 'node:http and ioredis GET',
    note: 'getBuffer of the body for every request; no header lines but Content-Type, Content-Length and what Node adds',
    packages: ['ioredis'],
    codings: ['identity'],
    isCache: true,
    start: node('bare-redis'),
  },
  {
    id: 'bare-redis-same-headers',
    label: 'node:http and ioredis GET, the same bytes',
    note: 'getBuffer of the body for every request; the very header lines that hotpath sends',
    packages: ['ioredis'],
    codings: ['identity'],
    isCache: true,
    isReplay: true,
    start: node('bare-redis-same-headers'),
  },
  {
    id: 'redis-least',
    label: 'node:http and the least of a shared cache',
    note: 'an ioredis GET by the SHA-256 of the key; checksum and fields of the value, checked and parsed; the header lines that hotpath sends',
    packages: ['ioredis'],
    codings: ['identity'],
    isCache: true,
    isReplay: true,
    start: node('redis-least'),
  },
];

export function contenderOf(id: string): Contender {
  const found = CONTENDERS.find((contender) => contender.id === id);
  if (!found)
    throw new Error(`there is no contender ${id}; there are ${CONTENDERS.map((c) => c.id).join(', ')}`);
  return found;
}
