/** The result of one check. */
export interface CheckReport {
  /** `warn`: it failed, and is not critical, or says so itself. */
  readonly status: 'pass' | 'warn' | 'fail';
  readonly critical: boolean;
  /** How long it took. */
  readonly seconds: number;
  /** When it ended. Milliseconds since 1970. */
  readonly at: number;
  /** Why it did not pass. */
  readonly reason?: string | undefined;
}

/** Whether requests may come. */
export interface HealthReport {
  /** `pass`: ready. `warn`: ready, and something that is not critical fails. `fail`: not ready. */
  readonly status: 'pass' | 'warn' | 'fail';
  /** Why, where it is no check: `shutting down`. */
  readonly reason?: string | undefined;
  readonly checks: Readonly<Record<string, CheckReport>>;
}
