// Times each optimisation of src/runtime, and some others, beside its plain form: `npm run bench:runtime`, with the Node that runs
// it. src/runtime/README.md has the figures. Each pair is timed by turns; memory is measured in a process of its own.
import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { parseCacheControl } from '../src/http/cache-control.js';
import { compileRoutes } from '../src/options/route-table.js';
import { InternTable } from '../src/runtime/intern.js';
import { keyedHash } from '../src/runtime/keyed-hash.js';
import { copyText, copyToOwnMemory } from '../src/runtime/owned-memory.js';
import { TransientMap } from '../src/runtime/transient-map.js';
import { Compactor } from '../src/store/compact-response.js';
import type { StoredResponse } from '../src/store/stored-response.js';

const ROUNDS = 15;
const ROUND_MS = 40;
const KEYS = Array.from({ length: 1000 }, (_, i) => `GET http shop.example.com /api/products/${i}?page=2`);

type Step = (turn: number) => unknown;

const LONG = 'x'.repeat(5000);

const RESPONSE: StoredResponse = {
  kind: 'response',
  key: 'GET http shop.example.com /api/products/1',
  stamp: 1,
  since: 1,
  url: '/api/products/1',
  path: '/api/products/1',
  tags: ['products'],
  vary: ['accept-language'],
  status: 200,
  headers: [
    ['Content-Type', 'application/json; charset=utf-8'],
    ['Cache-Control', 'public, max-age=60'],
    ['Vary', 'Accept-Language'],
  ],
  removed: [],
  etag: '"1f-abc"',
  ownEtag: false,
  date: 'Sat, 21 Nov 2026 06:00:00 GMT',
  storedAt: 0,
  initialAge: 0,
  freshUntil: 60_000,
  handlerMicros: 1000,
  reuse: { alwaysValidate: false, mustRevalidate: false, staleWhileRevalidate: 0, staleIfError: 0 },
  explicitlyShared: true,
  template: '/api/products/:id',
  body: Buffer.alloc(1000, 'x'),
};

/** Keeps results, so that V8 can't leave the work out. */
let _sink: unknown;

class PlainMap<Value> extends Map<string, Value> {
  override delete(key: string, _value?: Value): boolean {
    return super.delete(key);
  }
}

const TIMES: readonly [title: string, own: Step, plain: Step][] = [
  ['TransientMap: set, get, delete', transient(), map()],
  ['keyedHash, beside SHA-256 of node:crypto', hashing(keyedHash()), hashing((key) => hash('sha256', key))],
  ['InternTable: a known Cache-Control value', interned(), (turn) => parseCacheControl(fieldOf(turn))],
  ['copyToOwnMemory: 1 kB cut from 64 kB', copied(), cut()],
  ['route table: the tenth of 20 rules, path seen before', routed(['10', '20']), routed(['x12', 'y12'])],
  ['Compactor: a response like the last one of its route', compacted(1), compacted(2)],
  ['copyText: 24 characters cut from a long text', (turn) => copyText(pieceOf(turn)), pieceOf],
];

const MEMORY: Readonly<Record<string, [own: () => unknown, plain: () => unknown]>> = {
  'TransientMap: 100,000 fills that held 200 bytes each': [
    () => churn(new TransientMap()),
    () => churn(new PlainMap()),
  ],
  'InternTable: 100,000 entries with ten equal header values': [
    () => entries((table, text) => table.get(text, (own) => own)),
    () => entries((_table, text) => text),
  ],
  'copyToOwnMemory: 10,000 bodies of 1 kB from 16 kB reads': [
    () => bodies(copyToOwnMemory),
    () => bodies((body) => body),
  ],
  'copyText: 10,000 keys cut from requests of 2 kB': [() => texts(copyText), () => texts((text) => text)],
};

function report(): void {
  console.log(`Node ${process.versions.node}, V8 ${process.versions.v8}\n`);
  for (const [title, own, plain] of TIMES) {
    const [ownNs, plainNs] = compare(own, plain);
    console.log(
      `${title.padEnd(62)} ${ownNs.toFixed(0).padStart(6)} ns   plain ${plainNs.toFixed(0).padStart(6)} ns`,
    );
  }
  for (const title of Object.keys(MEMORY)) {
    const [own, plain] = [0, 1].map((index) => keptByChild(title, index) / 1e6) as [number, number];
    console.log(
      `${title.padEnd(62)} ${own.toFixed(1).padStart(6)} MB   plain ${plain.toFixed(1).padStart(6)} MB`,
    );
  }
}

/** The median of the time for one step of each, in nanoseconds. */
function compare(own: Step, plain: Step): [number, number] {
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    times[0].push(timeOf(own));
    times[1].push(timeOf(plain));
  }
  return times.map((each) => each.sort((a, b) => a - b)[ROUNDS >> 1]!) as [number, number];
}

function timeOf(step: Step): number {
  const begun = cpuMs();
  let turns = 0;
  while (cpuMs() - begun < ROUND_MS) for (let i = 0; i < 1000; i++) _sink = step(turns++);
  return ((cpuMs() - begun) * 1e6) / turns;
}

/** CPU time of this process, so that others on the machine count for less. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function keptByChild(title: string, index: number): number {
  const args = ['--expose-gc', ...process.execArgv, fileURLToPath(import.meta.url), title, String(index)];
  return Number(execFileSync(process.execPath, args, { encoding: 'utf8' }));
}

/** Heap and external memory that is left after young collections alone, as in a busy process. */
async function bytesKept(fill: () => unknown): Promise<number> {
  const used = () => {
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const collect = globalThis.gc as unknown as (options: { type: 'minor' | 'major' }) => void;
  collect({ type: 'major' });
  const before = used();
  _sink = fill();
  for (let i = 0; i < 3; i++) collect({ type: 'minor' });
  await new Promise(setImmediate);
  return used() - before;
}

function transient(): Step {
  const map = new TransientMap<number>();
  return (turn) => {
    const key = KEYS[turn % KEYS.length]!;
    map.set(key, turn);
    const found = map.get(key);
    map.delete(key, turn);
    return found;
  };
}

function map(): Step {
  const plain = new Map<string, number>();
  return (turn) => {
    const key = KEYS[turn % KEYS.length]!;
    plain.set(key, turn);
    const found = plain.get(key);
    plain.delete(key);
    return found;
  };
}

function hashing(hashOf: (key: string) => unknown): Step {
  return (turn) => hashOf(KEYS[turn % KEYS.length]!);
}

function fieldOf(turn: number): string {
  return `public, max-age=${turn % 50}, stale-while-revalidate=30`;
}

function interned(): Step {
  const table = new InternTable<unknown>(16 * 1024);
  return (turn) => table.get(fieldOf(turn), (text) => parseCacheControl(text));
}

function copied(): Step {
  const pool = Buffer.alloc(64 * 1024, 'x');
  return (turn) => copyToOwnMemory(pool.subarray(turn % 1000, (turn % 1000) + 1024));
}

function cut(): Step {
  const pool = Buffer.alloc(64 * 1024, 'x');
  return (turn) => pool.subarray(turn % 1000, (turn % 1000) + 1024);
}

/** @param ids two ids of the route: paths of one length with the same end take the memo's slot from each other. */
function routed(ids: readonly [string, string]): Step {
  const rules = Array.from({ length: 20 }, (_, i) => [`/api/kind-${i}/:id`, { ttl: i }] as const);
  const table = compileRoutes(Object.fromEntries(rules));
  return (turn) => table.match(`/api/kind-9/${ids[turn % 2]}`)?.policy;
}

/** @param forms the number of forms that take turns: with more than one, none is like the last. */
function compacted(forms: number): Step {
  const compactor = new Compactor();
  return (turn) => compactor.compact({ ...RESPONSE, initialAge: turn % forms });
}

function pieceOf(turn: number): string {
  return LONG.slice(turn % 1000, (turn % 1000) + 24);
}

/** Fills that come and go, of which a few are in flight at a time, with young collections between them. */
function churn(map: TransientMap<object> | PlainMap<object>): unknown {
  const collect = globalThis.gc as unknown as (options: { type: 'minor' }) => void;
  const inFlight: [string, object][] = [];
  for (let i = 0; i < 100_000; i++) {
    const fill = { state: Array.from({ length: 20 }, () => i) };
    const key = `${KEYS[i % KEYS.length]}&turn=${i}`;
    map.set(key, fill);
    inFlight.push([key, fill]);
    if (inFlight.length > 8) map.delete(...inFlight.shift()!);
    if (i === 2000) (collect as (options: { type: string }) => void)({ type: 'major' }); // now the map is old
    if (i % 500 === 0) collect({ type: 'minor' });
  }
  return map;
}

function entries(keep: (table: InternTable<string>, text: string) => string): unknown {
  const table = new InternTable<string>(128 * 1024);
  return Array.from({ length: 100_000 }, () =>
    Array.from({ length: 10 }, (_, i) =>
      keep(table, Buffer.from(`value number ${i} of a field`).toString('latin1')),
    ),
  );
}

function bodies(keep: (body: Buffer) => Buffer): unknown {
  return Array.from({ length: 10_000 }, () => keep(Buffer.allocUnsafeSlow(16 * 1024).subarray(100, 1124)));
}

function texts(keep: (text: string) => string): unknown {
  return Array.from({ length: 10_000 }, (_, i) =>
    keep(Buffer.alloc(2000, `request ${i} `).toString('latin1').slice(10, 90)),
  );
}

const [, , kept, which] = process.argv;
if (kept !== undefined) process.stdout.write(String(await bytesKept(MEMORY[kept]![Number(which)]!)));
else report();
