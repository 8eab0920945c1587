import type { Shown } from '../answers.js';
import { byId, FactList } from '../dom.js';
import { NOTHING, showBytes, showCores, showCount, showDuration, showShare } from '../format.js';

/** The process and its machine. */
export class ProcessPanel {
  readonly #facts = new FactList(byId('process-facts'));

  show({ machine, machineLabels, api }: Shown): void {
    if (!machine) return;
    const { process: own, host, uptimeSeconds, others } = machine.volatile;
    const disk = host?.disk;
    const container = host?.container;
    this.#facts.show([
      ['Instance', machine.instance ? `${machine.instance.host} · ${machine.instance.pid}` : NOTHING],
      ['Node.js', machineLabels ? `${machineLabels.nodeVersion} on ${machineLabels.platform}` : NOTHING],
      ['Up for', showDuration(uptimeSeconds)],
      ['Requests in flight', showCount(api?.volatile.requests.active)],
      ['Open connections', showCount(api?.volatile.requests.openConnections)],
      ['CPU', `${showCores(own?.cpuCores)} of ${showCount(host?.cores)}`],
      ['Memory', `${showBytes(own?.rssBytes)} of ${showBytes(host?.memoryLimitBytes)}`],
      ['Heap', `${showBytes(own?.heapUsedBytes)} of ${showBytes(own?.heapLimitBytes)}`],
      [
        'Event loop',
        `${showShare(own?.eventLoop.utilization)} in use · p99 ${showDuration(own?.eventLoop.delay?.p99)} late`,
      ],
      [
        'Garbage collection',
        `${showDuration(own?.gc.seconds)} in 5 s · longest ${showDuration(own?.gc.longestSeconds)}`,
      ],
      ['Disk', disk ? `${showShare(disk.usedRatio)} used · ${showBytes(disk.availableBytes)} free` : NOTHING],
      ...(container ? [['CPU throttled', showShare(container.throttledRatio)] as const] : []),
      ...others.map(
        ({ name, pid, cpuCores, rssBytes }) =>
          [`${name} · ${pid}`, `${showCores(cpuCores)} · ${showBytes(rssBytes)}`] as const,
      ),
    ]);
  }
}
