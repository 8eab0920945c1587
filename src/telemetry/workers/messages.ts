import type { Exemplar, Family } from '../exposition/families.js';

/** Marks messages of ours: the app's own pass on the same channels. */
const MARK = 'hotpath:metrics';

/** The channel of worker threads. */
export const THREADS_CHANNEL = 'hotpath:metrics';

/** The collecting process asks for metrics. */
export interface MetricsQuestion {
  readonly type: typeof MARK;
  readonly ask: number;
}

/** A worker answers, or says at its start that it will. */
export interface MetricsAnswer {
  readonly type: typeof MARK;
  readonly answer: number | 'ready';
  /** Of a worker thread. */
  readonly threadId?: number | undefined;
  /** Absent: they could not be read. */
  readonly families?: readonly WrittenFamily[];
}

/** JSON has no number that is infinite, or none. */
type WrittenSample = readonly [name: string, labels: string, value: number | string, exemplar?: Exemplar];

export type WrittenFamily = Omit<Family, 'samples'> & { readonly samples: readonly WrittenSample[] };

export function isQuestion(message: unknown): message is MetricsQuestion {
  return isOurs(message) && typeof message.ask === 'number';
}

export function isAnswer(message: unknown): message is MetricsAnswer {
  const isWord = isOurs(message) && (typeof message.answer === 'number' || message.answer === 'ready');
  return isWord && (message.families === undefined || Array.isArray(message.families));
}

export function makeQuestion(ask: number): MetricsQuestion {
  return { type: MARK, ask };
}

export function makeAnswer(
  answer: MetricsAnswer['answer'],
  families: readonly Family[] | undefined,
  threadId?: number,
): MetricsAnswer {
  return {
    type: MARK,
    answer,
    ...(threadId !== undefined && { threadId }),
    ...(families && { families: families.map(writeFamily) }),
  };
}

/** @throws for anything of another form. */
export function readWrittenFamily({ samples, ...family }: WrittenFamily): Family {
  return {
    ...family,
    samples: samples.map(([name, labels, value, exemplar]) => ({
      name,
      labels,
      value: Number(value),
      ...(exemplar && { exemplar }),
    })),
  };
}

function writeFamily({ samples, ...family }: Family): WrittenFamily {
  return {
    ...family,
    samples: samples.map(({ name, labels, value, exemplar }): WrittenSample => {
      const written = Number.isFinite(value) ? value : String(value);
      return exemplar ? [name, labels, written, exemplar] : [name, labels, written];
    }),
  };
}

function isOurs(message: unknown): message is Record<string, unknown> {
  return typeof message === 'object' && message !== null && (message as { type?: unknown }).type === MARK;
}
