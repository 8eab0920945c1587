import { closeAfterEach } from './close-after-each.js';
import { type Listening, listen } from './http.js';

/** Returns a function that serves an app or a server on a free port, and closes it after the test. */
export function serveUntilAfterEach(): (app: Parameters<typeof listen>[0]) => Promise<Listening> {
  const closeLater = closeAfterEach();
  return async (app) => closeLater(await listen(app));
}
