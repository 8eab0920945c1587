import { createServer, type ServerResponse } from 'node:http';
import { type CacheHints, type CacheRule, cacheOf } from 'hotpath/cache';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { stopClock } from '../../helpers/clock.js';
import { listen, majors } from '../../helpers/http.js';

// Invalid hints cause process warnings, which are expected here only.
beforeEach(() => void vi.spyOn(process, 'emitWarning').mockImplementation(() => {}));
afterEach(() => void vi.restoreAllMocks());

describe.each(majors)('cacheOf(res) (%s)', (_, express) => {
  const make = (hint: (hints: CacheHints, res: ServerResponse) => void, rule: CacheRule = { ttl: 60 }) =>
    cacheApp({
      express,
      cache: { routes: { '/x': rule } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          hint(cacheOf(res), res);
          res.send(`run ${count()}`);
        }),
    });

  it('adds tags of the handler to those of the rule, and each purges [H07]', async () => {
    const made = await make((hints) => hints.tag('a', 'b').tag('c'), { ttl: 60, tags: ['rule'] });
    for (const [i, tag] of ['a', 'b', 'c', 'rule'].entries()) {
      expect((await made.get('/x')).text).toBe(`run ${i + 1}`);
      expect((await made.get('/x')).text).toBe(`run ${i + 1}`);
      await made.cache.purge({ tag });
    }
  });

  it('purges by the original tags when the function changes its list later [D22]', async () => {
    const tags = ['first'];
    const made = await make(() => {}, { ttl: 60, tags: () => tags });
    await made.get('/x');
    tags[0] = 'second';
    await made.cache.purge({ tag: 'first' });
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('prefers a lifetime of the handler over that of the rule [H15]', async () => {
    const clock = stopClock();
    const made = await make((hints) => hints.ttl(0.6));
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 1');
    clock.pass(599);
    expect((await made.get('/x')).text).toBe('run 1');
    clock.pass(2);
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('accepts a lifetime of the handler without one in the rule [H15]', async () => {
    const made = await make((hints) => hints.ttl('10s'), {});
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 1');
  });

  it.each<[string, (hints: CacheHints) => unknown, string]>([
    ['a lifetime of 0', (hints) => hints.ttl(0), 'no-lifetime'],
    ['a negative lifetime', (hints) => hints.ttl(-1), 'invalid-ttl'],
    ['NaN', (hints) => hints.ttl(Number.NaN), 'invalid-ttl'],
    ['Infinity', (hints) => hints.ttl(Number.POSITIVE_INFINITY), 'invalid-ttl'],
    ['a lifetime in words', (hints) => hints.ttl('5 min' as never), 'invalid-ttl'],
    ['no lifetime', (hints) => hints.ttl(undefined as never), 'invalid-ttl'],
    ['a lifetime that is an object', (hints) => hints.ttl({} as never), 'invalid-ttl'],
    ['a tag that is not a string', (hints) => hints.tag(7 as never), 'invalid-tag'],
    ['an empty tag', (hints) => hints.tag('ok', ''), 'invalid-tag'],
    ['a list as a tag', (hints) => hints.tag(['a', 'b'] as never), 'invalid-tag'],
    ['a tag without a string form', (hints) => hints.tag(Object.create(null) as never), 'invalid-tag'],
    ['a symbol as a tag', (hints) => hints.tag(Symbol('x') as never), 'invalid-tag'],
    ['skip', (hints) => hints.skip(), 'skip'],
    ['skip with a reason', (hints) => hints.skip('too new'), '"too new"'],
    ['skip with a reason that contains line breaks', (hints) => hints.skip('a\r\nX-Evil: 1'), '"aX-Evil: 1"'],
    ['skip with an empty reason', (hints) => hints.skip(''), 'skip'],
    ['skip with a reason that is not a string', (hints) => hints.skip(Symbol('x') as never), 'skip'],
    ['skip after a lifetime', (hints) => hints.ttl('1h').tag('a').skip('why'), 'why'],
  ])('does not store a response with %s, and breaks nothing [K04]', async (_name, hint, detail) => {
    const made = await make((hints) => void hint(hints));
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 1' });
    const second = await made.get('/x');
    expect(second.text).toBe('run 2');
    expect(second.cacheStatus).toMatch(new RegExp(`; detail=${detail}$`));
    expect(made.cache.stats()).toMatchObject({ stores: 0, pending: 0 });
  });

  it.each(['private', 'no-store', 'no-cache'])(
    'does not store %s because of a lifetime [H15]',
    async (directive) => {
      const made = await make((hints, res) => {
        res.setHeader('Cache-Control', directive);
        hints.ttl('1h');
      });
      await made.get('/x');
      expect((await made.get('/x')).text).toBe('run 2');
    },
  );

  it('limits the number of different skip reasons in the statistics [K04]', async () => {
    let n = 0;
    const made = await make((hints) => hints.skip(`reason ${n++}`));
    for (let i = 0; i < 150; i++) await made.get('/x');
    const { refusals } = made.cache.stats();
    expect(Object.keys(refusals).length).toBeLessThanOrEqual(101);
    expect(Object.values(refusals).reduce((sum, count) => sum + count, 0)).toBe(150);
  });
});

describe('cacheOf(res) without a cache', () => {
  it('is harmless on a plain server, with separate hints per response [K04]', async () => {
    const { url, close } = await listen(
      createServer((_req, res) => {
        const hints = cacheOf(res);
        const same = hints.tag('a').ttl('10s').skip('why') === hints && cacheOf(res) === hints;
        res.end(String(same));
      }),
    );
    expect(await (await fetch(url)).text()).toBe('true');
    await close();
  });
});
