import type { ExpositionFormat } from './write.js';

/** A member of `Accept`: `type/subtype;name=value;q=0.5`. RFC 9110 §12.5.1. */
interface MediaRange {
  readonly type: string;
  readonly version: string | undefined;
  readonly weight: number;
}

/** The type and version of each format. */
const FORMATS: Readonly<Record<ExpositionFormat, { readonly type: string; readonly version: string }>> = {
  text: { type: 'text/plain', version: '0.0.4' },
  openmetrics: { type: 'application/openmetrics-text', version: '1.0.0' },
};

/** Members beyond these are ignored. */
const MOST_MEMBERS = 30;

/**
 * Chooses the format of a scrape by `Accept`. OpenMetrics wins where it is named with at least the weight of the text
 * format; a wildcard alone gets it only where text is refused. A request that accepts neither gets text, as scrapers
 * without the field do.
 *
 * @param accept the field's value, several lines joined by commas.
 */
export function chooseFormat(accept: string | undefined): ExpositionFormat {
  const ranges = (accept ?? '').split(',', MOST_MEMBERS).flatMap(readRange);
  const open = weigh(ranges, 'openmetrics');
  const text = weigh(ranges, 'text');
  if (open.weight === 0) return 'text';
  const wins = open.isNamed ? open.weight >= text.weight : text.weight === 0;
  return wins ? 'openmetrics' : 'text';
}

const WEIGHT = /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/;

/** @returns nothing for an invalid member. */
function readRange(member: string): MediaRange[] {
  const [type = '', ...parameters] = member.split(';').map((part) => part.trim().toLowerCase());
  let version: string | undefined;
  let weight = 1;
  for (const parameter of parameters) {
    const [name, ...rest] = parameter.split('=');
    const value = rest.join('=').replace(/^"(.*)"$/, '$1');
    if (name === 'version') version ??= value;
    if (name !== 'q') continue;
    if (!WEIGHT.test(value)) return [];
    weight = Number(value);
  }
  return [{ type, version, weight }];
}

/** The weight of a format: that of the most specific range that matches. */
function weigh(
  ranges: readonly MediaRange[],
  format: ExpositionFormat,
): { weight: number; isNamed: boolean } {
  const { type, version } = FORMATS[format];
  const specificityOf = (range: MediaRange) => {
    if (range.type === type) return range.version === undefined ? 3 : range.version === version ? 4 : 0;
    if (range.type === `${type.split('/')[0]}/*`) return 2;
    return range.type === '*/*' ? 1 : 0;
  };
  let best = 0;
  let weight = 0;
  for (const range of ranges) {
    const specificity = specificityOf(range);
    if (specificity === 0 || specificity < best) continue;
    weight = specificity > best ? range.weight : Math.max(weight, range.weight);
    best = specificity;
  }
  return { weight, isNamed: best >= 3 };
}
