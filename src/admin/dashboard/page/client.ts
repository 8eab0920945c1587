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

/**
 * Reads from the performance API beneath the page.
 *
 * @param path such as `/system?part=volatile`.
 * @throws (rejects) ApiProblem.
 */
export function readApi(path: string): Promise<unknown> {
  return call(path, {});
}

/** Sends a body. @throws (rejects) ApiProblem. */
export function postToApi(path: string, body: unknown): Promise<unknown> {
  const headers = { 'Content-Type': 'application/json', 'X-Hotpath-Request': '1' };
  return call(path, { method: 'POST', headers, body: JSON.stringify(body) });
}

async function call(path: string, init: RequestInit): Promise<unknown> {
  const signal = AbortSignal.timeout(PATIENCE);
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
