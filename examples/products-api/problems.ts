import type { ErrorRequestHandler, RequestHandler, Response } from 'express';

/** A 4xx response that a route returns by throwing. */
export class Problem extends Error {
  override readonly name = 'Problem';

  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail?: string,
  ) {
    super(detail ?? title);
  }
}

/** Responds with `application/problem+json` (RFC 9457). */
export function sendProblem(res: Response, problem: Pick<Problem, 'status' | 'title' | 'detail'>): void {
  const { status, title, detail } = problem;
  if (status === 503) res.set('Retry-After', '5');
  res.status(status).type('application/problem+json').json({ type: 'about:blank', title, status, detail });
}

/** The last route: a 404. */
export const notFound: RequestHandler = (_req, res) => {
  sendProblem(res, { status: 404, title: 'Not Found', detail: 'There is no such resource.' });
};

/** Titles for the errors of Express and its parsers. Their own messages may reveal internals. */
const CLIENT_ERRORS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
};

/**
 * Turns an exception of a route into a response. Unexpected errors are reported, and never shown to the
 * client.
 */
export function errorHandler(report: (error: unknown) => void): ErrorRequestHandler {
  return (error, _req, res, next) => {
    if (res.headersSent) {
      // The response has begun, so Express destroys the connection: the client must not take it for complete.
      next(error);
      return;
    }
    if (error instanceof Problem) {
      sendProblem(res, error);
      return;
    }
    const status = typeof error?.status === 'number' ? error.status : 500;
    const title = CLIENT_ERRORS[status];
    if (title !== undefined) {
      sendProblem(res, { status, title });
      return;
    }
    report(error);
    sendProblem(res, { status: 500, title: 'Internal Server Error' });
  };
}
