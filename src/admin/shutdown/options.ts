import * as v from 'valibot';
import { leaf, resolve, section } from '../../options/schema.js';
import type { Duration } from '../../options/units.js';
import type { ValidationResult } from '../../options/validation-result.js';
import { readFunction, readTimerDuration } from '../../options/validators.js';

/** An instance of hotpath, as far as a shutdown uses it. */
export interface ClosableInstance {
  close(): Promise<void>;
}

/** Options of `shutdown`. */
export interface ShutdownOptions {
  /**
   * How long the servers still accept requests while `/readyz` says 503, so that load balancers notice. At least the
   * period of their probe times its failure threshold. Default: `'5s'`, but at most a fifth of `deadline`.
   */
  unreadyFor?: Duration | undefined;
  /**
   * When all remaining connections are cut, from the call on. Less than the time after which the platform kills the
   * process, 30 s on Kubernetes. Default: `'25s'`.
   */
  deadline?: Duration | undefined;
  /** Closed at the end, once no request can come. Its health endpoints become unready too. Default: none. */
  perf?: ClosableInstance | undefined;
  /** A health middleware on another server, such as one for probes alone. Default: none. */
  health?: object | undefined;
  /** Called when the servers stop to accept: closes connections that HTTP does not know, such as WebSockets. Default: none. */
  onClosing?: (() => unknown) | undefined;
}

/** Resolved options of a shutdown: durations in seconds. */
export type ShutdownSettings = v.InferOutput<typeof shutdownSchema> & { readonly unreadyFor: number };

const shutdownSchema = section(
  {
    unreadyFor: v.optional(leaf(readTimerDuration)),
    deadline: v.optional(leaf(readTimerDuration), '25s'),
    perf: v.optional(leaf(readInstance)),
    health: v.optional(leaf(readHealth)),
    onClosing: v.optional(leaf(readFunction<() => unknown>())),
  },
  ({ unreadyFor, deadline = '25s' }, report) => {
    const [first, last] = [readTimerDuration(unreadyFor), readTimerDuration(deadline)];
    if ('value' in first && 'value' in last && first.value > last.value)
      report(
        'unreadyFor',
        'is longer than `deadline`, which includes it; set a shorter one, or a longer `deadline`',
      );
  },
);

const UNREADY_SECONDS = 5;

/** @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem. */
export function resolveShutdown(options: ShutdownOptions | undefined): ShutdownSettings {
  const settings = resolve(shutdownSchema, options, 'shutdown');
  const { unreadyFor = Math.min(UNREADY_SECONDS, settings.deadline / 5) } = settings;
  return { ...settings, unreadyFor };
}

function readInstance(input: unknown): ValidationResult<ClosableInstance> {
  const { close } = (input ?? {}) as Partial<ClosableInstance>;
  return typeof close === 'function'
    ? { value: input as ClosableInstance }
    : { expected: 'the instance that hotpath() returned' };
}

function readHealth(input: unknown): ValidationResult<object> {
  return typeof input === 'function'
    ? { value: input }
    : { expected: 'the middleware that health() returned' };
}
