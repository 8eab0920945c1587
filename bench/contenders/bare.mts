// node:http and the bytes of an answer, with no more header lines than Content-Type and Content-Length (and what the
// client cannot do without: Content-Encoding; ETag, where the answer is a 304).
import { readReference, serve } from './settings.mjs';

const NEEDED = new Set(['content-type', 'content-length', 'content-encoding']);
const { status, headers, body } = readReference();
const bytes = Buffer.from(body, 'base64');
const lines = headers
  .filter(([name]) => NEEDED.has(name.toLowerCase()) || (status === 304 && name.toLowerCase() === 'etag'))
  .flat();

serve((_req, res) => {
  res.writeHead(status, lines);
  res.end(bytes);
});
