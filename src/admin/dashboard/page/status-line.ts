import { byId, setShown, setText } from './dom.js';
import type { PollState } from './poller.js';

/** Says whether the figures are live, and what to do if not. */
export class StatusLine {
  readonly #status = byId('status');
  readonly #text = byId('status-text');
  readonly #trouble = byId('trouble');

  show(state: PollState): void {
    this.#status.dataset.state = state.kind;
    document.body.dataset.state = state.kind;
    setText(this.#text, state.kind === 'live' ? 'Live' : state.kind === 'paused' ? 'Paused' : 'Not live');
    setShown(this.#trouble, state.kind === 'trouble');
    if (state.kind === 'trouble') setText(this.#trouble, describeTrouble(state));
  }
}

function describeTrouble({ problem, retryInSeconds }: Extract<PollState, { kind: 'trouble' }>): string {
  const next = `The figures below are old; the page tries again in ${Math.round(retryInSeconds)} s.`;
  if (problem.status === 0)
    return `The server does not answer: it has stopped, or the network is down. ${next}`;
  if (problem.status === 401) return `You are no longer signed in: reload the page to sign in again. ${next}`;
  if (problem.status === 403)
    return `The server refuses the figures: ${problem.message} Reload the page after that.`;
  if (problem.status === 404) return 'The instance that you chose is gone. The page shows the others.';
  return `The server failed (status ${problem.status}): ${problem.message} ${next}`;
}
