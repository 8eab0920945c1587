// Bars as SVG. Text, lines and bars have colours that are readable on white and on black.

export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  /** hotpath, in the stronger colour. */
  readonly isOurs: boolean;
}

export interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly bars: readonly Bar[];
}

const WIDTH = 860;
const LABELS = 250;
const VALUES = 120;
const ROW = 24;
const BAR = 14;
const TITLE = 40;

/** Panels of horizontal bars, one below the other. Whiskers show the smallest and the largest run. */
export function drawChart(panels: readonly Panel[]): string {
  const heights = panels.map(({ bars }) => TITLE + bars.length * ROW + 16);
  const total = heights.reduce((sum, height) => sum + height, 0);
  let top = 0;
  const drawn = panels.map((panel, i) => {
    const text = drawPanel(panel, top);
    top += heights[i] as number;
    return text;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${total}" width="${WIDTH}" height="${total}" role="img" aria-label="${escapeText(panels.map(({ title }) => title).join('; '))}">
<style>
text { font: 13px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; font-size: 15px }
.peer { fill: #8c959f }
.ours { fill: #bf4b00 }
.whisker { stroke: #57606a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #b1bac4 }
  .peer { fill: #6e7681 }
  .ours { fill: #f0883e }
  .whisker { stroke: #b1bac4 }
}
</style>
${drawn.join('\n')}
</svg>
`;
}

function drawPanel({ title, unit, bars }: Panel, top: number): string {
  const most = Math.max(1, ...bars.map(({ max }) => max));
  const scale = (value: number) => LABELS + (value / most) * (WIDTH - LABELS - VALUES);
  const rows = bars.map(({ label, value, min, max, isOurs }, i) => {
    const y = top + TITLE + i * ROW;
    const middle = y + ROW / 2;
    const [end, low, high] = [value, min, max].map((each) => scale(each).toFixed(1));
    return [
      `<text x="${LABELS - 10}" y="${middle + 4.5}" text-anchor="end">${escapeText(label)}</text>`,
      `<rect class="${isOurs ? 'ours' : 'peer'}" x="${LABELS}" y="${y + (ROW - BAR) / 2}" width="${(scale(value) - LABELS).toFixed(1)}" height="${BAR}" rx="2"/>`,
      `<line class="whisker" x1="${low}" y1="${middle}" x2="${high}" y2="${middle}"/>`,
      `<text x="${Math.max(Number(end), Number(high)) + 8}" y="${middle + 4.5}">${Math.round(value).toLocaleString('en')}</text>`,
    ].join('');
  });
  return [
    `<text class="title" x="10" y="${top + 24}">${escapeText(title)} (${escapeText(unit)})</text>`,
    ...rows,
  ].join('\n');
}

function escapeText(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
