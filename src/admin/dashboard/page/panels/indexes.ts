import type { IndexReport } from '../../../../postgres/adviser/report.js';
import type { IndexBuild } from '../../../../postgres/builds/types.js';
import type { Answer, Shown } from '../answers.js';
import { explainFailure, LONG_PATIENCE, postToApi, readApi } from '../client.js';
import { appendProse, byId, KeyedList, make, setShown, setText, TextTable } from '../dom.js';
import { showCount, showDuration } from '../format.js';
import { type BuildsSeen, BuildWatch, hasEnded } from '../index-builds.js';
import { advisedView, type ShownAdvice } from './advised-index.js';
import { existingRows } from './existing-indexes.js';
import { buildView } from './index-build.js';

/** The response of a dry run. */
interface DryRun {
  readonly isAllowed: boolean;
  readonly report: IndexReport;
}

/** The response to a request to build. */
interface BuildReply {
  readonly ids: readonly string[];
  readonly refusals: readonly { readonly id: string; readonly reason: string; readonly detail: string }[];
}

/** Finds missing indexes by a dry run, and builds the chosen ones. Nothing is read before a person wants it. */
export class IndexPanel {
  readonly #permitsChanges: boolean;
  readonly #find = byId<HTMLButtonElement>('indexes-find');
  readonly #build = byId<HTMLButtonElement>('indexes-build');
  readonly #status = byId('indexes-status');
  readonly #builds = new KeyedList<IndexBuild>(byId('indexes-builds'), keyOfBuild, () => buildView());
  readonly #missing = new KeyedList<ShownAdvice>(
    byId('indexes-missing'),
    ({ index }) => index.id,
    () => advisedView((id, isChosen) => this.#choose(id, isChosen)),
  );
  readonly #existing = new TextTable(byId('existing'), ['sql', '', '', 'number wide']);
  readonly #watch = new BuildWatch((seen) => this.#showBuilds(seen));
  readonly #chosen = new Set<string>();
  #states: ReadonlyMap<string | null, IndexBuild> = new Map();
  #report: IndexReport | undefined;
  #isAllowed = false;
  #isBusy = false;
  /** Builds whose end is shown in the status. */
  #awaited: readonly string[] = [];

  constructor(permitsChanges: boolean) {
    this.#permitsChanges = permitsChanges;
    this.#find.addEventListener('click', () => void this.#run(this.#find, () => this.#advise()));
    this.#build.addEventListener('click', () => void this.#run(this.#build, () => this.#start()));
  }

  show({ database }: Shown): void {
    if (!database) return;
    const isOn = database.statistics !== null;
    setShown(this.#find, isOn);
    setShown(byId('indexes-about'), isOn);
    setShown(byId('indexes-empty'), !isOn);
  }

  /** Runs one task at a time, and shows why it has failed. The button keeps the focus. */
  async #run(button: HTMLButtonElement, task: () => Promise<void>): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    button.setAttribute('aria-busy', 'true');
    try {
      await task();
    } catch (error) {
      this.#say(explainFailure(error), true);
    } finally {
      this.#isBusy = false;
      button.removeAttribute('aria-busy');
    }
  }

  #say(text: string, isBad = false): void {
    this.#status.replaceChildren();
    appendProse(this.#status, text);
    this.#status.classList.toggle('bad', isBad);
  }

  async #advise(): Promise<void> {
    const startedAt = performance.now();
    const tell = () =>
      this.#say(`PostgreSQL plans the queries … ${Math.round((performance.now() - startedAt) / 1000)} s`);
    tell();
    const timer = window.setInterval(tell, 1000);
    try {
      const { isAllowed, report } = await readAdvice(this.#permitsChanges);
      this.#isAllowed = isAllowed;
      this.#report = report;
      this.#chosen.clear();
      await this.#watch.readAll();
    } finally {
      window.clearInterval(timer);
    }
    this.#say('');
    this.#showReport();
  }

  #showReport(): void {
    const report = this.#report;
    if (!report) return;
    const rows = existingRows(report);
    setShown(byId('indexes-report'), true);
    setText(byId('indexes-hint'), hintOf(report));
    setShown(byId('indexes-none'), report.missing.length === 0);
    setText(byId('indexes-none'), emptyText(report));
    setShown(byId('existing-part'), rows.length > 0);
    this.#existing.show(rows);
    byId('indexes-notes').replaceChildren(...report.notes.map((note) => make('li', '', note)));
    this.#showMissing();
  }

  #showMissing(): void {
    const missing = this.#report?.missing ?? [];
    const mayBuild = this.#isAllowed && this.#permitsChanges;
    this.#missing.show(
      missing.map((index) => {
        const build = this.#states.get(index.id);
        const isOpen = mayChoose(build);
        if (!isOpen) this.#chosen.delete(index.id);
        const isChosen = this.#chosen.has(index.id);
        return { index, mayBuild: mayBuild && isOpen, isChosen, isBuilt: build?.state === 'built' };
      }),
    );
    const isAnyOpen = missing.some(({ id }) => mayChoose(this.#states.get(id)));
    setShown(this.#build, mayBuild && isAnyOpen);
    const count = this.#chosen.size;
    this.#build.disabled = count === 0;
    setText(this.#build, buildLabel(count));
    const closed = byId('indexes-closed');
    closed.replaceChildren();
    if (missing.length > 0) appendProse(closed, closedText(this.#isAllowed, this.#permitsChanges));
  }

  #choose(id: string, isChosen: boolean): void {
    if (isChosen) this.#chosen.add(id);
    else this.#chosen.delete(id);
    this.#showMissing();
  }

  async #start(): Promise<void> {
    const wanted = [...this.#chosen];
    if (wanted.length === 0) return;
    this.#say('The server checks whether it may build …');
    const body = { dryRun: false, ids: wanted };
    const { ids, refusals } = (await postToApi('/indexes/optimize', body, LONG_PATIENCE)) as BuildReply;
    const begun = ids.length === 1 ? '1 build has begun.' : `${ids.length} builds have begun.`;
    const refused = refusals.map(({ reason, detail }) => ` Refused, ${reason}: ${detail}`);
    this.#say(begun + [...new Set(refused)].join(''), refusals.length > 0);
    this.#awaited = refusals.length === 0 ? ids : [];
    this.#watch.watch(ids);
  }

  #tellEnd(): void {
    const awaited = this.#awaited.map((id) => this.#states.get(id));
    if (awaited.length === 0 || awaited.some((build) => !build || !hasEnded(build))) return;
    const built = awaited.filter((build) => build?.state === 'built').length;
    this.#awaited = [];
    this.#say(`${built} of ${awaited.length} built.`, built < awaited.length);
  }

  #showBuilds({ builds, problem }: BuildsSeen): void {
    this.#states = new Map(builds.map((build) => [build.id, build]));
    this.#builds.show(builds);
    this.#showMissing();
    if (problem !== undefined) this.#say(`The progress is unknown; the page tries again. ${problem}`, true);
    else this.#tellEnd();
  }
}

/** Whether nothing builds an index, and nothing has built it. */
function mayChoose(build: IndexBuild | undefined): boolean {
  return build === undefined || build.state === 'failed' || build.state === 'absent';
}

function buildLabel(count: number): string {
  if (count === 0) return 'Build chosen indexes';
  return count === 1 ? 'Build 1 index' : `Build ${count} indexes`;
}

function keyOfBuild({ id, index }: IndexBuild): string {
  return id ?? index ?? '';
}

/** A dry run; a key that opens figures alone gets the same from the figures. */
async function readAdvice(permitsChanges: boolean): Promise<DryRun> {
  if (permitsChanges) return (await postToApi('/indexes/optimize', {}, LONG_PATIENCE)) as DryRun;
  const { stable, volatile } = (await readApi('/indexes', LONG_PATIENCE)) as Answer<object>;
  return { isAllowed: false, report: { ...stable, ...volatile } as IndexReport };
}

const LEVELS: Readonly<Record<IndexReport['level'], string>> = {
  verified: 'verified by the planner with HypoPG',
  trial: 'tried by real builds, which were rolled back',
  estimated: 'estimated by rules, because HypoPG is not installed',
};

function hintOf({ level, plannedStatements, statements, seconds, isComplete }: IndexReport): string {
  const rest = isComplete ? '' : '; the time was not enough for all';
  return `${showCount(plannedStatements)} of ${showCount(statements)} statements, ${LEVELS[level]}, in ${showDuration(seconds)}${rest}`;
}

function emptyText({ statements }: IndexReport): string {
  return statements === 0
    ? 'No statement is known yet. Use the app, and look again.'
    : 'No index would help much: the statements of the app find their rows well.';
}

function closedText(isAllowed: boolean, permitsChanges: boolean): string {
  if (!permitsChanges) return 'A key opens figures alone: set `authorize` to build indexes here.';
  return isAllowed
    ? ''
    : 'Building is off: set `postgres(pool, { indexes: { apply: true } })` to build indexes here.';
}
