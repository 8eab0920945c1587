import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { inspect } from 'node:util';
import type { Express } from 'express';
import session from 'express-session';
import * as hotpath from 'hotpath';
import * as assets from 'hotpath/assets';
import * as cache from 'hotpath/cache';
import * as postgres from 'hotpath/postgres';
import pg from 'pg';
import { expect } from 'vitest';
import { type express5, listen, waitFor } from '../helpers/http.js';

/** A request on a page of the docs, and the response that it shows. */
interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly status: string;
  readonly shown: readonly (readonly [name: string, value: string])[];
  /** Not compared where the page shows none. */
  readonly body: string | undefined;
  /** The page says that this happens after a while. */
  readonly eventually: boolean;
}

/** An app that a page of the docs shows, and the requests to it, in order. */
export interface Example {
  /** The heading that it stands under. */
  readonly name: string;
  readonly steps: readonly ({ readonly code: string } | { readonly exchange: Exchange })[];
}

/** The packages that an example may import. */
const MODULES: Readonly<Record<string, object>> = {
  hotpath,
  'hotpath/assets': assets,
  'hotpath/cache': cache,
  'hotpath/postgres': postgres,
  'express-session': session,
  pg,
};

/** How far a shown age or time to live may be from the real one: machines differ in speed. Seconds. */
const TOLERANCE = 60;

/**
 * The examples of a page: blocks of code marked `example`, each with the blocks that follow it: code marked `continued`
 * and exchanges (`http`). Other blocks of `ts` are fragments, which are compiled (`fragmentsOf`).
 */
export function examplesOf(page: string): Example[] {
  const examples: { name: string; steps: ({ code: string } | { exchange: Exchange })[] }[] = [];
  let heading = '';
  for (const [, title, language, mark, text = ''] of page.matchAll(
    /^#+ (.+)$|^```(\w+)(?: (\w+))?\n([\s\S]*?)^```$/gm,
  )) {
    if (title !== undefined) heading = title;
    else if (language === 'ts' && mark === 'example') {
      examples.push({ name: heading, steps: [{ code: text }] });
    } else if (language === 'ts' && mark === 'continued') examples.at(-1)?.steps.push({ code: text });
    else if (language === 'http') {
      const exchange = parseExchange(text, mark === 'eventually');
      examples.at(-1)?.steps.push({ exchange });
    }
  }
  return examples;
}

/** The blocks of `ts` of a page that are not run, by the heading above them. */
export function fragmentsOf(page: string): { readonly name: string; readonly code: string }[] {
  const fragments: { name: string; code: string }[] = [];
  let heading = '';
  for (const [, title, code] of page.matchAll(/^#+ (.+)$|^```ts\n([\s\S]*?)^```$/gm)) {
    if (title !== undefined) heading = title;
    else if (code !== undefined) fragments.push({ name: heading, code });
  }
  return fragments;
}

/**
 * Runs an example on a port of its own and compares every response that the page shows.
 *
 * @param given variables that the code uses and does not declare.
 * @param modules that it may import beside the usual ones.
 */
export async function runExample(
  { steps }: Example,
  express: typeof express5,
  given: Readonly<Record<string, unknown>> = {},
  modules: Readonly<Record<string, object>> = {},
): Promise<void> {
  const scope: Record<string, unknown> = { ...given, express };
  const logged: string[] = [];
  const wanted: string[] = [];
  let code = '';
  for (const [at, step] of steps.entries()) {
    if ('exchange' in step) {
      code += `await exchange(${at}, app);\n`;
      continue;
    }
    for (const [, comment = ''] of step.code.matchAll(/^console\.log\(.*\); \/\/ (.+)$/gm))
      wanted.push(comment);
    code += step.code.replace(/^import (.+) from '(.+)';$/gm, (_line, names: string, from: string) => {
      if (from !== 'express') Object.assign(scope, imported(names, from, { ...MODULES, ...modules }));
      return '';
    });
  }
  let server: { port: number; close(): Promise<void> } | undefined;
  scope.exchange = async (at: number, app: Express) => {
    server ??= await listen(app);
    const { exchange } = steps[at] as { exchange: Exchange };
    const { port } = server;
    if (exchange.eventually) await waitFor(async () => (await differences(port, exchange)).length === 0);
    expect(await differences(port, exchange), `${exchange.method} ${exchange.path}`).toEqual([]);
  };
  scope.console = {
    log: (value: unknown) => logged.push(typeof value === 'string' ? value : inspect(value)),
  };
  try {
    await runCode(code, scope);
    expect(logged.length).toBe(wanted.length);
    for (const [at, line] of logged.entries()) {
      expect(isShown(line, wanted[at] as string), `${line}, not ${wanted[at]}`).toBe(true);
    }
  } finally {
    await server?.close();
  }
}

function imported(
  names: string,
  from: string,
  modules: Readonly<Record<string, object>>,
): Record<string, unknown> {
  const module = modules[from] as Record<string, unknown> | undefined;
  const list = /^\{ (.+) \}$/.exec(names)?.[1]?.split(', ');
  if (!list) return { [names]: module };
  return Object.fromEntries(
    list.map((name) => {
      if (module?.[name] === undefined) throw new Error(`${from} exports no ${name}`);
      return [name, module[name]];
    }),
  );
}

async function runCode(code: string, scope: Record<string, unknown>): Promise<void> {
  const AsyncFunction = (async () => {}).constructor as new (
    ...args: string[]
  ) => (...values: unknown[]) => Promise<void>;
  const end = ['cache', 'perf'].map((name) => `if (typeof ${name} === 'function') await ${name}.close();`);
  end.push(...['worker', 'queue'].map((name) => `if (typeof ${name} === 'object') await ${name}.close();`));
  end.push(`if (typeof pool === 'object') await pool.end();`);
  await new AsyncFunction(...Object.keys(scope), `'use strict';\n${code}\n${end.join('\n')}`)(
    ...Object.values(scope),
  );
}

function parseExchange(text: string, eventually: boolean): Exchange {
  const [asked = '', answered = '', ...rest] = text.trimEnd().split('\n\n');
  const [requestLine = '', ...requestLines] = asked.split('\n');
  const [statusLine = '', ...lines] = answered.split('\n');
  const [, method = '', path = ''] = /^([A-Z]+) (\S+) HTTP\/1\.1$/.exec(requestLine) ?? [];
  const status = /^HTTP\/1\.1 (.+)$/.exec(statusLine)?.[1];
  if (!method || !status) throw new Error(`no exchange: ${text}`);
  const body = rest.length > 0 ? rest.join('\n\n') : undefined;
  return {
    method,
    path,
    headers: requestLines.map(field),
    status,
    shown: lines.map(field),
    body,
    eventually,
  };
}

function field(line: string): [name: string, value: string] {
  const colon = line.indexOf(': ');
  if (colon < 0) throw new Error(`no header field: ${line}`);
  return [line.slice(0, colon), line.slice(colon + 2)];
}

/** The parts of the real response that differ from the page. */
async function differences(port: number, exchange: Exchange): Promise<string[]> {
  const { method, path, headers, status, shown, body } = exchange;
  const sent = request({ port, method, path, headers: Object.fromEntries(headers), agent: false });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const found: string[] = [];
  const compare = (what: string, real: string, expected: string) => {
    if (!isShown(real, expected, what)) found.push(`${what}: ${real}, shown as ${expected}`);
  };
  compare('status', `${response.statusCode} ${response.statusMessage}`, status);
  for (const [name, value] of shown) {
    compare(name, [response.headers[name.toLowerCase()] ?? '(none)'].flat().join(', '), value);
  }
  if (body !== undefined) compare('body', Buffer.concat(chunks).toString(), body);
  return found;
}

/** Whether a text is as shown: `…` stands for anything, and an `Age` or a `ttl` may differ a little. */
function isShown(real: string, shown: string, what = ''): boolean {
  if (what === 'Age') return Math.abs(Number(real) - Number(shown)) <= TOLERANCE;
  const seconds: number[] = [];
  const parts = shown.split(/(…|ttl=-?\d+)/).map((part) => {
    if (part === '…') return '[\\s\\S]*';
    if (!part.startsWith('ttl=')) return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    seconds.push(Number(part.slice(4)));
    return 'ttl=(-?\\d+)';
  });
  const found = new RegExp(`^${parts.join('')}$`).exec(real);
  return found !== null && seconds.every((one, at) => Math.abs(one - Number(found[at + 1])) <= TOLERANCE);
}
