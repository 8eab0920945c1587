// node:http with the bytes of a response and the fewest header lines: Content-Type and Content-Length. Where the client
// needs them, also Content-Encoding, or ETag for a 304.
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
