import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { onDestroy } from '../../src/exchange/destroy.js';
import { exchangeOf } from '../../src/exchange/exchange.js';
import { express5, listen } from '../helpers/http.js';

/** What comes of a response of which several want to know whether it is given up. */
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

it('all who wait for it hear of it, and the response is destroyed', async () => {
  const { told, answer } = await given((res) => res.destroy());
  expect([told, answer]).toEqual([['first', 'second'], 'broken']);
});

it('where `destroy` is called on something else, as a mere listener of it is, nobody is told and nothing throws', async () => {
  const source = new PassThrough();
  const { told, answer, result } = await given((res) => {
    const returned = (res.destroy as () => unknown).call(source);
    res.sendStatus(204);
    return returned;
  });
  expect([told, answer, result === source, source.destroyed]).toEqual([[], 204, true, true]);
});
