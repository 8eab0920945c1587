import { fileURLToPath } from 'node:url';

/** Frames of a stack: queries may go through many layers of a library. */
const FRAMES = 50;

/** A stack; its text is made when it is read. */
export interface CallTrace {
  readonly stack?: string;
}

/** @param called the stack begins with its caller. */
export function captureTrace(called: (...args: never[]) => unknown): CallTrace {
  const trace: CallTrace = {};
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = FRAMES;
  try {
    Error.captureStackTrace(trace, called);
  } finally {
    Error.stackTraceLimit = before;
  }
  return trace;
}

/** The first frame of a stack in the app's own code, relative to the working directory; `undefined` without one. */
export function callSiteOf(stack: string | undefined): string | undefined {
  const line = stack
    ?.split('\n')
    .find((each) => /^ {4}at /.test(each) && !/node:|node_modules|<anonymous>\)?$/.test(each));
  if (line === undefined) return undefined;
  const text = line.slice(7).replace(/file:\/\/[^)\s]*?(?=:\d+)/, pathOfFileUrl);
  return text.replaceAll(`${process.cwd()}/`, '').slice(0, 300);
}

function pathOfFileUrl(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    return url;
  }
}
