import type { ErrorRequestHandler, RequestHandler, Response } from 'express';

/** An answer of the 4xx kind that a route gives by throwing. */
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

/** Answers in `application/problem+json` (RFC 9457). */
export function sendProblem(res: Response, problem: Pick<Problem, 'status' | 'title' | 'detail'>): void {
  const { status, title, detail } = problem;
  res.status(status).type('application/problem+json').json({ type: 'about:blank', title, status, detail });
}

/** The last route: nothing is here. */
export const notFound: RequestHandler = (_req, res) => {
  sendProblem(res, { status: 404, title: 'Not Found', detail: 'There is no such resource.' });
};

/** Titles for the errors that Express and its parsers raise. Their own messages may tell of internals. */
const CLIENT_ERRORS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
};

/** Turns what a route threw into an answer. What is no visitor's fault goes to `report`, never to the visitor. */
export function errorHandler(report: (error: unknown) => void): ErrorRequestHandler {
  return (error, _req, res, next) => {
    if (res.headersSent) {
      // Half an answer is out: Express ends the connection, so that it can't be taken for a whole one.
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
