import type { IncomingMessage } from 'node:http';

/** The trace that a request belongs to. */
export interface TraceReference {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits; absent where only the caller's span is known. */
  readonly spanId?: string | undefined;
}

/** The API of OpenTelemetry, as every copy of `@opentelemetry/api` 1 finds it: it is one for the process. */
interface OpenTelemetryApi {
  readonly context?: { active(): { getValue(key: symbol): unknown } };
}

interface Span {
  spanContext?(): { readonly traceId: string; readonly spanId: string; readonly traceFlags: number };
}

const API = Symbol.for('opentelemetry.js.api.1');
const SPAN = Symbol.for('OpenTelemetry Context Key SPAN');

/** W3C Trace Context §3.2: version, trace id, parent id and flags. Later versions may add more after a dash. */
const TRACEPARENT = /^(?!ff)([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})[\da-f]{16}-([\da-f]{2})(-.*)?$/;

const SAMPLED = 1;

/**
 * The sampled trace of a request: that of OpenTelemetry's active span, or of the header `traceparent` where no span is
 * active. A trace that is not sampled is stored nowhere, so it is left out. Never throws.
 */
export function traceOf(req: IncomingMessage): TraceReference | undefined {
  try {
    const span = activeSpan();
    if (!span) return traceFromHeader(req.headers.traceparent);
    const { traceId, spanId, traceFlags } = span;
    return (traceFlags & SAMPLED) !== 0 && isTraceId(traceId) ? { traceId, spanId } : undefined;
  } catch {
    return undefined; // another version of the API
  }
}

function activeSpan() {
  const api = (globalThis as { [API]?: OpenTelemetryApi })[API];
  const span = api?.context?.active().getValue(SPAN) as Span | undefined;
  const found = span?.spanContext?.();
  return found && isTraceId(found.traceId) ? found : undefined;
}

function isTraceId(text: unknown): boolean {
  return typeof text === 'string' && /^(?!0{32})[\da-f]{32}$/.test(text);
}

function traceFromHeader(header: string | string[] | undefined): TraceReference | undefined {
  // Node joins several lines by commas, which no trace has.
  const match = typeof header === 'string' ? TRACEPARENT.exec(header) : null;
  if (!match || (match[1] === '00' && match[4] !== undefined)) return undefined;
  return (Number.parseInt(match[3]!, 16) & SAMPLED) !== 0 ? { traceId: match[2]! } : undefined;
}
