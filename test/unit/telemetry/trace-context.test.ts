import type { IncomingMessage } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { traceOf } from '../../../src/telemetry/trace-context.js';

const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
const span = '00f067aa0ba902b7';
const requestWith = (traceparent?: string) => ({ headers: { traceparent } }) as unknown as IncomingMessage;

const API = Symbol.for('opentelemetry.js.api.1');
const globals = globalThis as { [API]?: unknown };
const before = globals[API];
afterEach(() => {
  if (before === undefined) delete globals[API];
  else globals[API] = before;
});

/** As @opentelemetry/api leaves it; the tests in test/compat use the package. */
function activate(spanContext: unknown): void {
  const key = Symbol.for('OpenTelemetry Context Key SPAN');
  const active = {
    getValue: (asked: symbol) =>
      asked === key && spanContext ? { spanContext: () => spanContext } : undefined,
  };
  globals[API] = { context: { active: () => active } };
}

describe('the trace of a request', () => {
  it.each<[header: string | undefined, found: string | undefined]>([
    [`00-${trace}-${span}-01`, trace],
    [`00-${trace}-${span}-ff`, trace],
    [`00-${trace}-${span}-00`, undefined], // not sampled
    [`00-${trace}-${span}-02`, undefined],
    [`cc-${trace}-${span}-01`, trace],
    [`cc-${trace}-${span}-01-what-will-be`, trace],
    [`00-${trace}-${span}-01-more`, undefined],
    [`cc-${trace}-${span}-01more`, undefined],
    [`ff-${trace}-${span}-01`, undefined],
    [`00-${'0'.repeat(32)}-${span}-01`, undefined],
    [`00-${trace}-${'0'.repeat(16)}-01`, undefined],
    [`00-${trace.toUpperCase()}-${span}-01`, undefined],
    [`00-${trace}-${span}-01, 00-${trace}-${span}-01`, undefined],
    [` 00-${trace}-${span}-01`, undefined],
    [`00-${trace.slice(1)}-${span}-01`, undefined],
    ['00-"} 1\n-x-01', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('is read from traceparent: %s', (header, found) => {
    activate(undefined);
    expect(traceOf(requestWith(header))).toEqual(found && { traceId: found });
  });

  it.each<[name: string, spanContext: unknown, found: unknown]>([
    ['a sampled span', { traceId: trace, spanId: span, traceFlags: 1 }, { traceId: trace, spanId: span }],
    ['a span that is not sampled', { traceId: trace, spanId: span, traceFlags: 0 }, undefined],
    [
      'an invalid span',
      { traceId: '0'.repeat(32), spanId: span, traceFlags: 1 },
      { traceId: 'a'.repeat(32) },
    ],
    ['no span', undefined, { traceId: 'a'.repeat(32) }],
  ])('is that of the active span before traceparent: %s', (_name, spanContext, found) => {
    activate(spanContext);
    expect(traceOf(requestWith(`00-${'a'.repeat(32)}-${span}-01`))).toEqual(found);
  });

  it('is absent where another version of OpenTelemetry throws', () => {
    globals[API] = {
      context: {
        active() {
          throw new Error('not here');
        },
      },
    };
    expect(traceOf(requestWith(`00-${trace}-${span}-01`))).toBeUndefined();
  });
});
