// node:http and ioredis: a GET for each request, its bytes as the body, and every header line that hotpath
// sends.
import { Redis } from 'ioredis';
import { readReference, serve, settings } from './settings.mjs';

const redis = new Redis(settings.redis as string);
const { status, headers, body } = readReference();
const bytes = Buffer.from(body, 'base64');
const lines = headers.flat();

serve(async (req, res) => {
  const found = await redis.getBuffer(`bare:${req.url}`);
  if (!found) await redis.set(`bare:${req.url}`, bytes, 'EX', 3600);
  res.writeHead(status, lines);
  res.end(found ?? bytes);
});
