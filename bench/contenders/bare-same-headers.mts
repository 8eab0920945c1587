// node:http with the same bytes that hotpath sends: all of its header lines, and the body.
import { readReference, serve } from './settings.mjs';

const { status, headers, body } = readReference();
const bytes = Buffer.from(body, 'base64');
const lines = headers.flat();

serve((_req, res) => {
  res.writeHead(status, lines);
  res.end(bytes);
});
