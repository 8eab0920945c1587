/** How a figure stands to its limits. `between`: neither beyond the limit nor far enough within it. */
export type Verdict = 'bad' | 'between' | 'good' | 'unknown';

/** The limits of a figure. */
export interface AlertLimits {
  /** It is bad beyond this. */
  readonly threshold: number;
  /** It is good from here on. */
  readonly clearAt: number;
  /** Low figures are the bad ones. */
  readonly isUnder: boolean;
}

/** The distance between both limits, as a share of the first: figures that sway within it change no state. */
const GAP = 0.2;

/** Limits of a figure that must not be higher. */
export function limitAbove(threshold: number): AlertLimits {
  return { threshold, clearAt: threshold - GAP * Math.abs(threshold), isUnder: false };
}

/** Limits of a figure that must not be lower. @param most that the figure can be. */
export function limitBelow(threshold: number, most = Number.POSITIVE_INFINITY): AlertLimits {
  const clearAt = threshold + (GAP / (1 - GAP)) * Math.abs(threshold);
  return { threshold, clearAt: Math.min(clearAt, (threshold + most) / 2), isUnder: true };
}

/** @param value `undefined`: not known. */
export function judge(value: number | undefined, { threshold, clearAt, isUnder }: AlertLimits): Verdict {
  if (value === undefined) return 'unknown';
  if (isUnder ? value < threshold : value > threshold) return 'bad';
  return (isUnder ? value >= clearAt : value <= clearAt) ? 'good' : 'between';
}

/**
 * The state of one alert. It changes only after several evaluations in a row that speak for it. So an alert neither
 * fires for a moment nor flaps.
 */
export class AlertState {
  isFiring = false;
  /** Milliseconds since 1970. */
  since = Date.now();
  readonly #evaluations: number;
  #streak = 0;

  /** @param evaluations in a row that change the state. */
  constructor(evaluations: number) {
    this.#evaluations = evaluations;
  }

  /** @returns whether the state has changed. */
  update(verdict: Verdict): boolean {
    const isAgainst = verdict === (this.isFiring ? 'good' : 'bad');
    this.#streak = isAgainst ? this.#streak + 1 : 0;
    if (this.#streak < this.#evaluations) return false;
    this.#streak = 0;
    this.isFiring = !this.isFiring;
    this.since = Date.now();
    return true;
  }
}
