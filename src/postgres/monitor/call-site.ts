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

/** Of the app's own code: queries often go through a function of the app. */
const SHOWN_FRAMES = 3;

/**
 * The first frames of a stack in the app's own code, relative to the working directory; `undefined` without one.
 */
export function callSiteOf(stack: string | undefined): string | undefined {
  const frames = (stack ?? '')
    .split('\n')
    .filter((each) => /^ {4}at /.test(each) && !/node:|node_modules|<anonymous>\)?$/.test(each))
    .slice(0, SHOWN_FRAMES)
    .map((frame) =>
      frame
        .slice(7)
        .replace(/file:\/\/[^)\s]*?(?=:\d+)/, pathOfFileUrl)
        .replaceAll(`${process.cwd()}/`, '')
        .slice(0, 300),
    );
  return frames.length === 0 ? undefined : frames.join(', called by ');
}

function pathOfFileUrl(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    return url;
  }
}
