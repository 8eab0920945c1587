/** The state of a shutdown, kept on each server, on an instance of hotpath and on a health middleware. */
export interface ShutdownState {
  /** Why it is not ready; `undefined`: no shutdown has begun. */
  reason: string | undefined;
  /** Long responses are ended; new ones end at once. */
  isEnding: boolean;
  /** End the long responses of a server. */
  readonly endings: Set<() => void>;
  /** The result of the shutdown. */
  result: Promise<ShutdownSummary> | undefined;
}

/** How a shutdown went. */
export interface ShutdownSummary {
  /** From the call to the end. */
  readonly seconds: number;
  /** Every connection has ended by itself, before the deadline. */
  readonly isComplete: boolean;
  /** Connections that were cut at the deadline. */
  readonly cutConnections: number;
  /** Long responses that were ended, such as event streams. */
  readonly endedStreams: number;
  /** Connections that are open in spite of all; 0 unless a server is not one of Node. */
  readonly openConnections: number;
}

/** Two copies of the package share it. */
const STATE = Symbol.for('hotpath.shutdown');

type Holder = { [STATE]?: ShutdownState };

/** The state of an object; created if there is none. */
export function shutdownStateOf(owner: object): ShutdownState {
  const { [STATE]: known } = owner as Holder;
  if (known) return known;
  const state: ShutdownState = {
    reason: undefined,
    isEnding: false,
    endings: new Set(),
    result: undefined,
  };
  Object.defineProperty(owner, STATE, { value: state });
  return state;
}

/** Why an object is not ready, if its shutdown has begun. */
export function shutdownReason(owner: object | undefined): string | undefined {
  return (owner as Holder | undefined)?.[STATE]?.reason;
}
