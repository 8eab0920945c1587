import {
  showBytes,
  showBytesRate,
  showCores,
  showCount,
  showDuration,
  showRate,
  showShare,
} from '../format.js';

/** A line in a chart. */
export interface ChartLine {
  /** Its name in `/history`. */
  readonly figure: string;
  readonly label: string;
  /** One of the colours of series in the style. */
  readonly colour: 's1' | 's2' | 's3' | 'bad';
}

/** A chart over time. */
export interface ChartKind {
  readonly title: string;
  readonly show: (value: number | null | undefined) => string;
  readonly lines: readonly ChartLine[];
  /** The least height of its scale, so that noise near zero stays small. */
  readonly least: number;
  /** Ticks in powers of 1,024. */
  readonly isBinary?: boolean;
  /** Ratios end at 1. */
  readonly most?: number;
}

/** The charts, in the order of the questions: load, speed, failures, cache, process, machine. */
export const CHART_KINDS: readonly ChartKind[] = [
  {
    title: 'Requests per second',
    show: showRate,
    lines: [{ figure: 'requestRate', label: 'requests/s', colour: 's1' }],
    least: 1,
  },
  {
    title: 'Latency',
    show: showDuration,
    lines: [
      { figure: 'p50', label: 'p50', colour: 's1' },
      { figure: 'p95', label: 'p95', colour: 's2' },
      { figure: 'p99', label: 'p99', colour: 's3' },
    ],
    least: 0.001,
  },
  {
    title: 'Errors',
    show: showShare,
    lines: [
      { figure: 'serverErrorRatio', label: '5xx', colour: 'bad' },
      { figure: 'clientErrorRatio', label: '4xx', colour: 's1' },
    ],
    least: 0.01,
    most: 1,
  },
  {
    title: 'In flight',
    show: showCount,
    lines: [
      { figure: 'activeRequests', label: 'requests', colour: 's1' },
      { figure: 'openConnections', label: 'connections', colour: 's2' },
    ],
    // Ticks are whole numbers.
    least: 10,
  },
  {
    title: 'Cache hit ratio',
    show: showShare,
    lines: [{ figure: 'cacheHitRatio', label: 'hits', colour: 's1' }],
    least: 1,
    most: 1,
  },
  {
    title: 'Bandwidth saved',
    show: showBytesRate,
    lines: [
      { figure: 'cacheServedBytesRate', label: 'by the cache', colour: 's1' },
      { figure: 'compressionSavedBytesRate', label: 'by compression', colour: 's2' },
    ],
    least: 1024,
    isBinary: true,
  },
  {
    title: 'CPU of the process',
    show: showCores,
    lines: [{ figure: 'cpuCores', label: 'in use', colour: 's1' }],
    least: 1,
  },
  {
    title: 'Memory of the process',
    show: showBytes,
    lines: [
      { figure: 'rssBytes', label: 'resident', colour: 's1' },
      { figure: 'heapUsedBytes', label: 'heap', colour: 's2' },
    ],
    least: 1024 ** 2,
    isBinary: true,
  },
  {
    title: 'Event loop delay',
    show: showDuration,
    lines: [{ figure: 'eventLoopDelayP99', label: 'p99', colour: 's1' }],
    least: 0.01,
  },
  {
    title: 'Event loop in use',
    show: showShare,
    lines: [{ figure: 'eventLoopUtilization', label: 'in use', colour: 's1' }],
    least: 1,
    most: 1,
  },
  {
    title: 'CPU and disk of the machine',
    show: showShare,
    lines: [
      { figure: 'hostCpuRatio', label: 'CPU busy', colour: 's1' },
      { figure: 'diskUsedRatio', label: 'disk used', colour: 's2' },
    ],
    least: 1,
    most: 1,
  },
  {
    title: 'Network of the machine',
    show: showBytesRate,
    lines: [
      { figure: 'networkReceivedBytesRate', label: 'received', colour: 's1' },
      { figure: 'networkSentBytesRate', label: 'sent', colour: 's2' },
    ],
    least: 1024,
    isBinary: true,
  },
];
