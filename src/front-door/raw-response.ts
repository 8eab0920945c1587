import { type IncomingMessage, ServerResponse } from 'node:http';

/** A function of `ServerResponse` that Node does not document: what `writeHead` hands the first line and the fields to. */
type StoreHeader = (firstLine: string, fields: readonly string[]) => void;

/** Whether nobody but Node has a hand in a response: nothing is patched, and no one waits for its end. */
export function isUntouched(res: ServerResponse): boolean {
  const { writeHead, write, end, setHeader } = ServerResponse.prototype;
  return (
    res.end === end &&
    res.writeHead === writeHead &&
    res.write === write &&
    res.setHeader === setHeader &&
    !res.headersSent &&
    !res.destroyed &&
    // Node's own.
    res.listenerCount('finish') <= 1 &&
    res.listenerCount('close') === 0
  );
}

/** What of `ServerResponse` Node does not document. */
interface Inside {
  _storeHeader?: StoreHeader;
  /** Whether the status and the method let the answer have a body. */
  _hasBody?: boolean;
  /** The first line and the fields, from when they are known on; they go out with the first bytes of the body. */
  _header?: string | null;
  _headerSent?: boolean;
}

/**
 * Longer bodies are sent as the bytes that they are. Shorter ones, as text in one piece with the head, cost less: Node
 * writes such a text from its stack, where bytes behind a text take it an allocation and a list of pieces. Measured.
 */
const MOST_AS_TEXT = 4 * 1024;

/**
 * A body that has come from Redis for an answer is sent as text as long as Node writes it from its stack, the head in
 * front of it. V8 counts the bytes of a buffer until it has looked through its young objects, and beside buffers of
 * 10 kB few of these are made: it then collects the whole heap about once for each time that it does look, which took
 * a fifth of the CPU time of such answers. A text is a young object itself.
 */
const STACK = 16 * 1024;

/** Where head and body come together, one answer after the other. */
const desk = Buffer.allocUnsafeSlow(STACK);

/** An answer, as it is to be sent. */
export interface RawResponse {
  readonly status: number;
  /** The status line and the fields, `Date` among them, each line with its end; checked. */
  readonly text: string;
  /** Absent for a status that has none. */
  readonly body: Buffer | undefined;
  /** The body has come from Redis for this answer, and most of the time is let go after it. */
  readonly isBrought: boolean;
}

/**
 * Sends an answer whose header lines are there as text.
 *
 * `writeHead` would check each of them and put them together again, which is most of what an answer costs beyond
 * the bare server. So the text goes where `writeHead` sends its first line; where there is no such place, it takes the
 * usual way. What is on the wire is the same.
 */
export function sendRaw(
  req: IncomingMessage,
  res: ServerResponse,
  { status, text, body, isBrought }: RawResponse,
): void {
  const inside = res as unknown as Inside;
  const length = body && String(body.length);
  if (typeof inside._storeHeader !== 'function' || typeof inside._hasBody !== 'boolean') {
    for (const name of res.getHeaderNames()) res.removeHeader(name); // in the text, if it is to be sent
    const fields = fieldsOf(text);
    if (length !== undefined) fields['Content-Length'] = [length];
    res.writeHead(status, fields);
  } else {
    res.statusCode = status;
    res.sendDate = false; // it is in the text
    if (length === undefined) inside._hasBody = false; // as `writeHead` does
    inside._storeHeader(text, length === undefined ? NONE : ['Content-Length', length]);
  }
  if (!body || req.method === 'HEAD') res.end();
  // Node counts only what it is given as a body, and may have been told to insist on the length.
  else if (res.strictContentLength || !(sendAsText(res, body, isBrought) || sendAsBytes(res, body)))
    res.end(body);
}

const NONE: readonly string[] = Object.freeze([]);

/**
 * Sends a short body in one piece with the head, which waits for it; as Node writes a head, each character is one byte.
 *
 * @returns whether that could be done.
 */
function sendAsText(res: ServerResponse, body: Buffer, isBrought: boolean): boolean {
  const inside = res as unknown as Inside;
  const { _header: head } = inside;
  if (typeof head !== 'string') return false;
  if (body.length > (isBrought ? STACK - head.length : MOST_AS_TEXT)) return false;
  inside._header = isBrought ? onePiece(head, body) : head + body.toString('latin1');
  res.end();
  inside._header = head;
  return true;
}

/**
 * As `head + body` in Latin-1, which V8 would put together only as it is written: in a further text of that length, half
 * of all that such an answer allocates.
 */
function onePiece(head: string, body: Buffer): string {
  const at = desk.write(head, 'latin1');
  desk.set(body, at);
  return desk.toString('latin1', 0, at + body.length);
}

/**
 * Sends head and body in one write, as `end` does, but without the empty piece at the end by which that finds out when
 * they have gone.
 *
 * @returns whether that could be done.
 */
function sendAsBytes(res: ServerResponse, body: Buffer): boolean {
  const inside = res as unknown as Inside;
  const { _header: head } = inside;
  const { socket } = res;
  if (!socket?.writable) return false; // absent while other answers are before this one
  if (typeof head !== 'string' || inside._headerSent !== false) return false;
  socket.cork();
  socket.write(head, 'latin1');
  socket.write(body);
  socket.uncork();
  inside._headerSent = true;
  res.end(); // waits for what the system has not taken
  return true;
}

/** By name, as several lines of one name are all sent in this form alone. */
function fieldsOf(text: string): Record<string, string[]> {
  const fields: Record<string, string[]> = Object.create(null);
  const [, ...lines] = text.split('\r\n');
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) (fields[line.slice(0, colon)] ??= []).push(line.slice(colon + 2));
  }
  return fields;
}
