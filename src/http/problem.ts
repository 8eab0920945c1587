/** A problem detail (RFC 9457). Members beyond these are extensions. */
export interface Problem {
  /** Identifies the kind of problem. `about:blank`: no more than its status says. */
  readonly type: string;
  /** For `about:blank` the phrase of the status. */
  readonly title: string;
  readonly status: number;
  /** What is wrong with this one request. */
  readonly detail: string;
  readonly [extension: string]: string | number;
}

/** The media type of a problem detail as JSON. */
export const PROBLEM_TYPE = 'application/problem+json';
