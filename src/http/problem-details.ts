/** A problem detail (RFC 9457). Members beyond these are extensions. */
export interface ProblemDetails {
  /** The kind of problem. `about:blank`: only its status describes it. */
  readonly type: string;
  /** For `about:blank`, the reason phrase of the status. */
  readonly title: string;
  readonly status: number;
  /** The problem of this request. */
  readonly detail: string;
  readonly [extension: string]: string | number;
}

/** The media type of a problem detail as JSON. */
export const PROBLEM_TYPE = 'application/problem+json';
