import type { BuildBlocker, BuildGain, IndexBuild } from '../../../../postgres/builds/types.js';
import { type ItemView, KeyedList, make, setShown, setText } from '../dom.js';
import { showBytes, showCount, showDuration, showShare } from '../format.js';
import { showCost, showGain } from './advised-index.js';

const STATES: Readonly<Record<IndexBuild['state'], string>> = {
  waiting: 'Waiting',
  building: 'Building',
  built: 'Built',
  failed: 'Failed',
  absent: 'Not there',
};

/** The state of a build, its blocker and its gain. */
export function buildView(): ItemView<IndexBuild> {
  const state = make('strong', 'build-state');
  const name = make('span', 'sql');
  const detail = make('p', 'hint');
  const bar = make('progress', 'build-progress');
  bar.setAttribute('aria-label', 'Share of the phase that is done');
  const list = make('ul', 'gains');
  const gains = new KeyedList<BuildGain>(list, ({ text }) => text, gainView);
  const node = make('li', 'build', make('p', '', state, ' ', name), bar, detail, list);
  return {
    node,
    update: (build) => {
      node.dataset.state = build.state;
      setText(state, STATES[build.state]);
      setText(name, build.index ?? build.table ?? build.id ?? '');
      setText(detail, detailOf(build));
      setShown(bar, build.state === 'building');
      if (build.progress === null) bar.removeAttribute('value');
      else bar.value = build.progress;
      gains.show(build.gains ?? []);
    },
  };
}

function gainView(): ItemView<BuildGain> {
  const cost = make('b');
  const text = make('span', 'sql');
  return {
    node: make('li', '', cost, ' ', text),
    update: (gain) => {
      const { costBefore, costAfter, buffersBefore, buffersAfter } = gain;
      const factor = showGain(costBefore, costAfter);
      const pages =
        buffersBefore === null || buffersAfter === null
          ? ''
          : `; ${showCount(buffersBefore)} pages before, ${showCount(buffersAfter)} now`;
      setText(
        cost,
        `Cost ${showCost(costBefore)} before, ${showCost(costAfter)} now (${factor} less)${pages}:`,
      );
      setText(text, gain.text);
    },
  };
}

function detailOf(build: IndexBuild): string {
  const { state, reason, sqlstate, phase, progress, partitions, blocker, cleanup, attempts, seconds, bytes } =
    build;
  const took = seconds === null ? '' : showDuration(seconds);
  const parts = [
    ...(build.table === null ? [] : [build.table]),
    ...(reason === null ? [] : [sqlstate === null ? reason : `${reason} (${sqlstate})`]),
    ...(state === 'building' && phase !== null ? [phaseText(phase, progress)] : []),
    ...(partitions === null ? [] : [`${partitions.done} of ${partitions.total} partitions`]),
    ...(blocker === null ? [] : [blockerText(blocker)]),
    ...(cleanup === 'pending' ? ['an invalid index is left until the server permits to drop it'] : []),
    ...(cleanup === 'done' ? ['the invalid index of an attempt was dropped'] : []),
    ...(attempts !== null && attempts > 1 ? [`${attempts} attempts`] : []),
    ...(bytes !== null && state === 'built' ? [showBytes(bytes)] : []),
    ...(took === '' ? [] : [state === 'built' || state === 'failed' ? `took ${took}` : `since ${took}`]),
    ...(state === 'built' && build.gains === null ? ['the gain is not known'] : []),
  ];
  return parts.join(' · ');
}

function phaseText(phase: string, progress: number | null): string {
  return progress === null ? phase : `${phase}, ${showShare(progress)}`;
}

function blockerText({ pid, state, seconds }: BuildBlocker): string {
  const who = pid === null ? 'a prepared transaction' : `the transaction of process ${pid}`;
  const details = [...(state === null ? [] : [state]), ...(seconds === null ? [] : [showDuration(seconds)])];
  return `waits for ${who}${details.length > 0 ? ` (${details.join(', ')})` : ''}`;
}
