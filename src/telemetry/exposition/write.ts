import { EventLoopYielder } from './event-loop-yielder.js';
import { type Exemplar, type Family, type MetricSample, writeLabels } from './families.js';

/** The formats of Prometheus that hotpath writes. */
export type ExpositionFormat = 'text' | 'openmetrics';

/** The content types, by format. Prometheus 3 refuses a response without one. */
export const CONTENT_TYPES: Readonly<Record<ExpositionFormat, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** Names and values of an exemplar's labels may have so many characters together (OpenMetrics 1.0, "Exemplars"). */
const LONGEST_EXEMPLAR = 128;

/** Writes metrics in one of the formats. */
export async function writeFamilies(
  families: readonly Family[],
  format: ExpositionFormat,
  yielder = new EventLoopYielder(),
): Promise<string> {
  const isOpen = format === 'openmetrics';
  const blocks: string[] = [];
  for (const family of families) {
    const lines = describeFamily(family, isOpen);
    for (const sample of family.samples) {
      lines.push(isOpen ? openSample(family, sample) : textSample(sample));
      if (yielder.afterLine()) await yielder.yield();
    }
    blocks.push(lines.join('\n'));
  }
  if (isOpen) return [...blocks, '# EOF\n'].join('\n');
  return `${blocks.join('\n\n')}\n`;
}

function describeFamily({ name, help, type }: Family, isOpen: boolean): string[] {
  const family = isOpen && type === 'counter' ? withoutTotal(name) : name;
  const escaped = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  return [
    `# HELP ${family} ${isOpen ? escaped.replaceAll('"', '\\"') : escaped}`,
    `# TYPE ${family} ${type}`,
  ];
}

function textSample({ name, labels, value }: MetricSample): string {
  return `${name}${labels} ${writeNumber(value, 'Nan')}`;
}

function openSample({ type }: Family, { name, labels, value, exemplar }: MetricSample): string {
  const full = type === 'counter' ? `${withoutTotal(name)}_total` : name;
  const bounds = type === 'histogram' || type === 'summary' ? withCanonicalBounds(labels) : labels;
  return `${full}${bounds} ${writeNumber(value, 'NaN')}${exemplar ? writeExemplar(exemplar) : ''}`;
}

/** Empty for an exemplar that is too long. */
function writeExemplar({ labels, value, timestamp }: Exemplar): string {
  const length = Object.entries(labels).reduce((sum, pair) => sum + [...pair.join('')].length, 0);
  if (length > LONGEST_EXEMPLAR) return '';
  const time = timestamp === undefined ? '' : ` ${timestamp}`;
  return ` # {${writeLabels(labels)}} ${writeNumber(value, 'NaN')}${time}`;
}

function withoutTotal(name: string): string {
  return name.replace(/_total$/, '');
}

function writeNumber(value: number, notANumber: string): string {
  if (Number.isFinite(value)) return String(value);
  if (Number.isNaN(value)) return notANumber;
  return value < 0 ? '-Inf' : '+Inf';
}

/** A quote within the value of a label is escaped, so this finds labels alone. */
const BOUND = /([{,](?:le|quantile)=)"([^"]+)"/;

/** OpenMetrics 1.0, "Canonical Numbers": bounds are written as Go writes them, `1.0` and `1e+06`. */
function withCanonicalBounds(labels: string): string {
  return labels.replace(BOUND, (text, name: string, bound: string) => {
    const value = Number(bound);
    return Number.isFinite(value) ? `${name}"${canonicalNumber(value)}"` : text;
  });
}

function canonicalNumber(value: number): string {
  const [mantissa, power] = value.toExponential().split('e');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 6) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  const text = String(value);
  return text.includes('.') ? text : `${text}.0`;
}
