import { ServerResponse } from 'node:http';

/** A function of `ServerResponse` that Node does not document: what `writeHead` hands the first line and the fields to. */
type StoreHeader = (this: ServerResponse, firstLine: string, fields: readonly string[]) => void;

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

/**
 * Sends the head of an answer whose lines are there as text.
 *
 * `writeHead` would check each of them and put them together again, which is most of what an answer costs beyond
 * the bare server. So the text goes where `writeHead` sends its first line; where there is no such place, or Node
 * has to know more, it takes the usual way. What is on the wire is the same.
 *
 * @param text the status line and the fields, `Date` among them, each line with its end; checked.
 * @param length of the body; absent for a status that has none. Bytes.
 */
export function sendHead(
  res: ServerResponse,
  status: number,
  text: string,
  length: number | undefined,
): void {
  const { _storeHeader: storeHeader } = res as unknown as { readonly _storeHeader?: StoreHeader };
  if (length === undefined || typeof storeHeader !== 'function') {
    for (const name of res.getHeaderNames()) res.removeHeader(name); // in the text, if it is to be sent
    const fields = fieldsOf(text);
    if (length !== undefined) fields['Content-Length'] = [String(length)];
    res.writeHead(status, fields);
    return;
  }
  res.statusCode = status;
  res.sendDate = false; // it is in the text
  storeHeader.call(res, text, ['Content-Length', String(length)]);
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
