// node:http and ioredis: a GET for each request, and its bytes as the body.
import { Redis } from 'ioredis';
import { productsOf, SIZES } from './bodies.mjs';
import { serve, settings } from './settings.mjs';

const redis = new Redis(settings.redis as string);
const body = Buffer.from(JSON.stringify(productsOf(SIZES['10kb'])));

serve(async (req, res) => {
  const found = await redis.getBuffer(`bare:${req.url}`);
  const bytes = found ?? body;
  if (!found) await redis.set(`bare:${req.url}`, body, 'EX', 3600);
  res.writeHead(200, [
    'Content-Type',
    'application/json; charset=utf-8',
    'Content-Length',
    String(bytes.length),
  ]);
  res.end(bytes);
});
