import type { Response } from 'express';
import { expect, it } from 'vitest';
import { type Request, settled, site, still, type Way } from '../../front/helper.js';
import { majors, partOn4, type RawAnswer } from '../../helpers/http.js';

const LONG = JSON.stringify({ items: Array.from({ length: 60 }, (_, id) => ({ id, name: `item ${id}` })) });
// Future dates have no age, so all responses with a future date have that in common.
const [ahead, furtherAhead, ago, longAgo] = [-600_000, -900_000, 1000, 86_400_000].map((ms) =>
  new Date(Date.now() - ms).toUTCString(),
) as [string, string, string, string];

/** Responses of one route; each has a property of its own. */
const responses: Readonly<Record<string, (res: Response) => unknown>> = {
  // First: data derived from invalid fields must not be reused for valid ones.
  odd: (res) => res.set('ETag', 'odd').type('json').send(LONG),
  strange: (res) => res.set('Date', 'yesterday').type('json').send(LONG),
  plain: (res) => res.json({ name: 'plain' }),
  long: (res) => res.type('json').send(LONG),
  'long-too': (res) => res.type('json').send(`${LONG} `),
  later: (res) => res.set('Date', furtherAhead).type('json').send(LONG),
  strong: (res) => res.set('ETag', '"strong"').type('json').send(LONG),
  weak: (res) => res.set('ETag', 'W/"weak"').type('json').send(LONG),
  modified: (res) => res.set('Last-Modified', longAgo).type('json').send(LONG),
  'modified-lately': (res) => res.set('Last-Modified', ago).type('json').send(LONG),
  'modified-strangely': (res) => res.set('Last-Modified', 'lately').type('json').send(LONG),
  'modified-twice': (res) =>
    res
      .set('Last-Modified', [longAgo, ago] as never)
      .type('json')
      .send(LONG),
  'expires-soon': (res) => res.set('Expires', furtherAhead).type('json').send(LONG),
  'another-type': (res) => res.type('text/plain').send(LONG),
  'no-text': (res) => res.type('application/octet-stream').send(Buffer.alloc(3000, 7)),
  noise: (res) =>
    res
      .type('json')
      .send(Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7919 + (i >> 3) * 104_729) % 251))),
  empty: (res) => res.type('json').send(''),
  'not-found': (res) => res.status(404).type('json').send(LONG),
  'no-powers': (res) => res.removeHeader('X-Powered-By') ?? res.type('json').send(LONG),
  ...Object.fromEntries(
    Array.from({ length: 20 }, (_, n) => [
      `of-${n}`,
      (res: Response) => res.set('X-Of', `${n}`).type('json').send(LONG),
    ]),
  ),
};

const accepted: Record<string, string>[] = [
  {},
  { 'Accept-Encoding': 'gzip' },
  { 'Accept-Encoding': 'br, gzip' },
];

const wholeOf = (answer: RawAnswer) =>
  JSON.stringify([answer.head.split('\r\n')[0], still(answer), answer.body.toString('latin1')]);

it.each(majors)(
  'shares nothing that differs between responses of one head group, on %s',
  async (major, express) => {
    const make = (way: Way) =>
      site({
        express,
        way,
        config: {
          routes: {
            '/promised/:name': {
              cache: { ttl: 600, shared: true, statuses: [200, 404] },
              cacheControl: { maxAge: 60 },
            },
            '/:name': { cache: { ttl: 600, shared: true, statuses: [200, 404] } },
          },
        },
        routes: (app) => {
          app.get(['/:name', '/promised/:name'], (req, res) => {
            res.set('Date', ahead);
            responses[req.params.name as string]!(res);
          });
        },
      });
    const [long, ...others] = await Promise.all((['middlewares', 'lane', 'door'] as const).map(make));
    const compare = async (request: Request) => {
      const [expected, ...answers] = await Promise.all(
        [long!, ...others].map((made) => settled(made, request)),
      );
      for (const answer of answers) {
        // `expect` costs more than the comparison, so it only reports the responses that differ.
        if (wholeOf(answer) === wholeOf(expected!)) continue;
        expect(answer.head.split('\r\n')[0], JSON.stringify(request)).toBe(expected!.head.split('\r\n')[0]);
        expect(still(answer), JSON.stringify(request)).toEqual(still(expected!));
        expect(answer.body.equals(expected!.body), JSON.stringify(request)).toBe(true);
      }
      return expected!;
    };
    const paths = Object.keys(responses).flatMap((name) => {
      // Without a valid date, `Expires` depends on the current time and differs per app.
      return name === 'strange' ? [`/${name}`] : [`/${name}`, `/promised/${name}`];
    });
    const codings = partOn4(major, accepted, [{ 'Accept-Encoding': 'gzip' }]);
    for (const [coding, fields] of codings.entries()) {
      for (const [place, path] of paths.entries()) {
        // There are more of these than groups of one form. Each meets one coding, and each coding some beyond the limit.
        const [, number] = /\/of-(\d+)$/.exec(path) ?? [];
        if (number !== undefined && Number(number) % codings.length !== coding) continue;
        const tag = (await compare({ path, fields })).header('etag');
        if (tag === undefined) continue;
        // These differ in one field only.
        if (number !== undefined) continue;
        const conditions = [
          ...[tag, `W/${tag}`, tag.replace(/(--[a-z-]+)?"$/, '--w-gzip"'), `"other", ${tag}`].map((list) => ({
            'If-None-Match': list,
          })),
          { 'If-Modified-Since': ago },
        ];
        // Pairwise: each response and each coding meet every condition.
        for (const condition of conditions.filter((_, i) => (i + place + 2 * coding) % 5 < 2)) {
          await compare({ path, fields: { ...fields, ...condition } });
        }
      }
    }
    expect(others[1]!.perf.cache.stats().frontDoor.hits).toBeGreaterThan(partOn4(major, 650, 250));
  },
  60_000,
);
