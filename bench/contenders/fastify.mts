// Fastify with @fastify/caching, whose cache the handlers read and fill themselves, here with finished JSON.
import caching from '@fastify/caching';
import compress from '@fastify/compress';
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import { productsOf, SIZES, type SizeName } from './bodies.mjs';
import { answerQuestions } from './settings.mjs';

interface Cache {
  get(key: string, done: (error: unknown, found: { item: string } | null) => void): void;
  set(key: string, value: string, milliseconds: number, done: (error: unknown) => void): void;
}

const app = fastify({ keepAliveTimeout: 60_000 });
await app.register(caching as never);
await app.register(compress, { global: true });
const cache = (app as unknown as { cache: Cache }).cache;
const data = new Map(Object.entries(SIZES).map(([name, bytes]) => [name, productsOf(bytes)]));
const small = productsOf(900);
let runs = 0;

function answer(req: FastifyRequest, reply: FastifyReply, load: () => unknown): void {
  reply.type('application/json; charset=utf-8');
  cache.get(req.url, (_error, found) => {
    if (found) {
      reply.send(found.item);
      return;
    }
    runs++;
    const json = JSON.stringify(load());
    cache.set(req.url, json, 3_600_000, () => reply.send(json));
  });
}

app.get<{ Params: { size: SizeName } }>('/hit/:size', (req, reply) => {
  answer(req, reply, () => data.get(req.params.size));
});
app.get<{ Params: { id: string } }>('/item/:id', (req, reply) => {
  answer(req, reply, () => ({ item: req.params.id, related: small }));
});
app.get('/miss/:id', (req, reply) => {
  answer(req, reply, () => data.get('10kb'));
});
app.get('/private', (_req, reply) => {
  runs++;
  reply.header('Cache-Control', 'private, no-store').send(data.get('10kb'));
});

const address = await app.listen({ port: 0, host: '127.0.0.1' });
process.send?.({ port: Number(new URL(address).port) });
answerQuestions({ runs: () => runs });
