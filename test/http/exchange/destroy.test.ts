import { ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { exchangeOf } from '../../../src/exchange/exchange.js';
import { onDestroy } from '../../../src/exchange/on-destroy.js';
import { express5, listen } from '../../helpers/http.js';

/** The calls and the result of a response with several `destroy` listeners. */
async function given(handler: (res: import('express').Response) => unknown) {
  const told: string[] = [];
  const app = express5();
  app.use((req, res, next) => {
    for (const name of ['first', 'second']) onDestroy(exchangeOf(req, res), () => told.push(name));
    next();
  });
  let result: unknown;
  app.get('/', (_req, res) => void (result = handler(res)));
  const server = await listen(app);
  try {
    const answer = await fetch(server.url).then(
      ({ status }) => status,
      () => 'broken',
    );
    return { told, answer, result };
  } finally {
    await server.close();
  }
}

it('calls every listener, and destroys the response', async () => {
  const { told, answer } = await given((res) => res.destroy());
  expect([told, answer]).toEqual([['first', 'second'], 'broken']);
});

it('behaves like Node and calls no listener when `destroy` is called on another object', async () => {
  const outcomeOf = (destroy: () => unknown) => {
    const source = new PassThrough();
    try {
      return [destroy.call(source) === source, source.destroyed];
    } catch (error) {
      return String(error);
    }
  };
  const { told, answer, result } = await given((res) => {
    const outcome = outcomeOf(res.destroy as () => unknown);
    res.sendStatus(204);
    return outcome;
  });
  expect([told, answer]).toEqual([[], 204]);
  expect(result).toEqual(outcomeOf(ServerResponse.prototype.destroy as () => unknown));
});
