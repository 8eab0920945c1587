import { setAttribute } from '../dom.js';

type Points = readonly (number | null)[];

/** Points of a small line; more would not be seen. */
const MOST_POINTS = 90;
const WIDTH = 300;
const HEIGHT = 40;

/** Draws a small line over time into an `svg` element. It begins at zero, so that its height can be trusted. */
export function drawSpark(svg: SVGSVGElement, values: Points): void {
  const points = thin(values);
  const most = Math.max(...points.map((value) => value ?? 0), 0);
  const step = WIDTH / Math.max(points.length - 1, 1);
  let line = '';
  let isDown = false;
  for (const [index, value] of points.entries()) {
    if (value !== null) {
      const y = most > 0 ? HEIGHT - 2 - (value / most) * (HEIGHT - 4) : HEIGHT - 2;
      line += `${isDown ? 'L' : 'M'}${(index * step).toFixed(1)} ${y.toFixed(1)}`;
    }
    isDown = value !== null;
  }
  setAttribute(svg, 'viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  let path = svg.querySelector('path');
  if (!path) {
    path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    svg.append(path);
  }
  setAttribute(path, 'd', line);
}

/** Means of neighbours. */
function thin(values: Points): (number | null)[] {
  const width = Math.ceil(values.length / MOST_POINTS);
  if (width <= 1) return [...values];
  return Array.from({ length: Math.ceil(values.length / width) }, (_, index) =>
    meanOf(values.slice(index * width, (index + 1) * width)),
  );
}

/** Mean of the numbers that are there; `null` without any. */
export function meanOf(values: Points): number | null {
  let sum = 0;
  let count = 0;
  for (const value of values) {
    if (value === null) continue;
    sum += value;
    count++;
  }
  return count > 0 ? sum / count : null;
}
