/** Why the API has not given what was wanted. */
export class ApiProblem extends Error {
  /** Of HTTP; 0: there was no response. */
  readonly status: number;

  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

/** A response that takes longer is given up. Milliseconds. */
const PATIENCE = 10_000;

/** For an advice about indexes, which plans every statement. Milliseconds. */
export const LONG_PATIENCE = 120_000;

/**
 * Reads from the performance API beneath the page.
 *
 * @param path such as `/system?part=volatile`.
 * @param patience in milliseconds. Default: 10 seconds.
 * @throws (rejects) ApiProblem.
 */
export function readApi(path: string, patience = PATIENCE): Promise<unknown> {
  return call(path, {}, patience);
}

/** Sends a body. @throws (rejects) ApiProblem. */
export function postToApi(path: string, body: unknown, patience = PATIENCE): Promise<unknown> {
  const headers = { 'Content-Type': 'application/json', 'X-Hotpath-Request': '1' };
  return call(path, { method: 'POST', headers, body: JSON.stringify(body) }, patience);
}

async function call(path: string, init: RequestInit, patience: number): Promise<unknown> {
  const signal = AbortSignal.timeout(patience);
  const response = await fetch(`./api${path}`, { ...init, signal, cache: 'no-store' }).catch(() => undefined);
  if (!response) throw new ApiProblem(0, 'The server does not answer.');
  const value: unknown = await response.json().catch(() => undefined);
  if (response.ok && value !== undefined) return value;
  const { detail } = (value ?? {}) as { detail?: unknown };
  throw new ApiProblem(
    response.status,
    typeof detail === 'string' ? detail : `The server answers with status ${response.status}.`,
  );
}

/** The words for an error of `readApi` and `postToApi`. */
export function explainFailure(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
