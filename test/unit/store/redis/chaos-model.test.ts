import { describe, expect, it } from 'vitest';
import type { LogStamp, RedisLog } from '../../../../src/store/redis/log/redis-log.js';
import { Model } from '../../../store/redis/chaos-model.js';

/** A log without any check. The test sets its last read and its last known record. */
class UncheckedLog {
  heardAt = 0;
  known: LogStamp = { epoch: 'a', position: 1 };
  readonly position = 1;
  readonly canShare = false;

  get stats() {
    return { heardAt: this.heardAt };
  }

  limit() {
    return Number.POSITIVE_INFINITY;
  }

  toShared() {
    return this.known;
  }

  record() {
    return Promise.resolve({ position: 1, acknowledged: true });
  }
}

/** Three instances that serve anything. The test chooses every action. */
function unchecked() {
  const logs = [new UncheckedLog(), new UncheckedLog(), new UncheckedLog()] as const;
  const choices: number[] = [];
  const world = {
    time: 0,
    now: () => world.time,
    nowAt: () => world.time,
    after: (_: number, call: () => void) => call(),
    random: () => choices.shift() ?? 0,
    fetch: () => Promise.resolve(undefined),
    store: () => {},
    clocks: logs.map(() => ({ fromShared: () => Number.NaN, toShared: () => Number.NaN })),
  };
  const model = new Model(world, logs as unknown as RedisLog[], { staleness: 500, fill: 100 });
  const act = async (time: number, instance: number, ...more: number[]) => {
    world.time = time;
    choices.push((instance + 0.5) / logs.length, ...more);
    model.act();
    await Promise.resolve();
    choices.length = 0;
  };
  return {
    logs,
    model,
    /** Serves the stored value, or stores a new one. */
    read: (time: number, instance: number) => act(time, instance, 0.9, 0),
    purgeAll: (time: number, instance: number) => act(time, instance, 0, 0, 0.99, 0),
    at(time: number) {
      world.time = time;
      return model;
    },
  };
}

const end: LogStamp = { epoch: 'a', position: 1 };
const more: LogStamp = { epoch: 'a', position: 2 };
const begun: LogStamp = { epoch: 'b', position: 3 };

describe('the model, when a server loads older data', () => {
  it('expects that a change is noticed only by a read after it was complete', async () => {
    const { logs, model, at, read, purgeAll } = unchecked();
    await read(1, 2);
    logs[0].known = more;
    const before = at(10).before();
    logs[0].heardAt = 11;
    at(20).changeHistory(end, before);
    await purgeAll(30, 1);
    logs[2].heardAt = 35;
    await read(40, 2);
    expect(model.violations).toEqual([]);
    logs[0].heardAt = 45;
    await read(50, 2);
    expect(model.violations).toEqual([]);
    logs[2].heardAt = 60;
    await read(70, 2);
    expect(model.violations).toHaveLength(1);
  });

  it('expects no more after a second change than after the first, until both are noticed', async () => {
    const { logs, model, at, read, purgeAll } = unchecked();
    await read(1, 2);
    logs[0].known = more;
    at(10).changeHistory(end);
    await purgeAll(20, 2);
    at(30).changeHistory(end);
    await read(40, 2);
    expect(model.violations).toEqual([]);
    logs[0].heardAt = 45;
    await read(50, 1);
    logs[2].heardAt = 60;
    await read(70, 2);
    expect(model.violations).toHaveLength(1);
  });

  it('expects no more of an instance that read a second change, but not the epoch after the first', async () => {
    const { logs, model, at, read, purgeAll } = unchecked();
    await read(1, 2);
    logs[0].known = more;
    at(10).changeHistory(end);
    await purgeAll(20, 2);
    logs[0].heardAt = 25;
    await read(30, 1);
    const before = at(40).before();
    logs[0].known = begun;
    for (const log of logs) log.heardAt = 45;
    at(50).changeHistory(end, before);
    await read(60, 2);
    expect(model.violations).toEqual([]);
  });

  it('counts no instance as a witness of a lost record that read the log only during the change', async () => {
    const { logs, model, at, read, purgeAll } = unchecked();
    await read(1, 2);
    await purgeAll(10, 0);
    const before = at(20).before();
    logs[2].heardAt = 25;
    at(30).changeHistory(end, before);
    logs[2].heardAt = 35;
    await read(40, 1);
    logs[2].heardAt = 45;
    await read(50, 2);
    expect(model.violations).toEqual([]);
    logs[0].heardAt = 55;
    await read(60, 1);
    logs[2].heardAt = 65;
    await read(70, 2);
    expect(model.violations).toHaveLength(1);
  });

  it('counts an instance as knowing more when the reply to its purge was in flight', async () => {
    const { logs, model, at, read, purgeAll } = unchecked();
    await read(1, 2);
    let acknowledge = () => {};
    logs[0].record = () =>
      new Promise((resolve) => {
        acknowledge = () => resolve({ position: 2, acknowledged: true });
      });
    await purgeAll(10, 0);
    at(20).changeHistory(end);
    logs[0].heardAt = 25;
    logs[0].known = more;
    at(30);
    acknowledge();
    await Promise.resolve();
    await purgeAll(40, 1);
    logs[2].heardAt = 45;
    await read(50, 2);
    expect(model.violations).toEqual([]);
    logs[0].heardAt = 55;
    await read(60, 1);
    logs[2].heardAt = 70;
    await read(80, 2);
    expect(model.violations).toHaveLength(2);
  });

  it('counts an instance as knowing more when a record that it read was in flight', async () => {
    const { logs, model, at, read, purgeAll } = unchecked();
    await read(1, 2);
    at(20).changeHistory(end);
    logs[0].known = more;
    await purgeAll(40, 1);
    logs[2].heardAt = 45;
    await read(50, 2);
    expect(model.violations).toEqual([]);
    logs[0].heardAt = 55;
    await read(60, 1);
    logs[2].heardAt = 70;
    await read(80, 2);
    expect(model.violations).toHaveLength(1);
  });
});
