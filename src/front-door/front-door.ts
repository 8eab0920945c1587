import type { IncomingMessage, ServerResponse } from 'node:http';
import { exchangeOf } from '../exchange/exchange.js';
import { reportFault } from '../exchange/run-listeners.js';
import { HotpathError } from '../options/errors.js';
import type { ExpressApp } from './express-view.js';
import type { FastPath } from './fast-path.js';
import { RequestShapes } from './request-shapes.js';

/** Stands before one app, and answers what the lane can answer before Express hears of it. */
export class FrontDoor {
  readonly #lane: FastPath;
  #app: ExpressApp | undefined;
  #shapes: RequestShapes | undefined;
  /** The request that is being handed on to the app, and has been looked at here. */
  #handing: IncomingMessage | undefined;

  constructor(lane: FastPath) {
    this.#lane = lane;
  }

  /** @throws HotpathError `HOTPATH_ATTACH_INVALID` for what it can't stand in front of. */
  attach(candidate: unknown): void {
    const app = readApp(candidate);
    if (this.#app === app) return;
    if (this.#app) {
      throw attachError(
        'the instance is already attached to another app, and entries do not distinguish apps; create one instance per app',
      );
    }
    this.#app = app;
    this.#shapes = new RequestShapes(app);
    const { handle } = app;
    const door = this;
    app.handle = function (req, res, out) {
      // With a continuation it comes from an app around this one, which has seen it.
      if (out !== undefined || app.parent !== undefined) return handle.call(this, req, res, out);
      const answer = door.#lane.answer(req, res, app);
      if (answer === 'given') return;
      if (answer === 'inside') {
        door.#prepare(req, res, false);
        return handle.call(this, req, res);
      }
      const pass = () => door.#pass(handle, req, res);
      if (answer === 'none' || !door.#lane.ask(req, res, app, pass)) pass();
    };
    this.#lane.opened();
  }

  /** Whether a request was looked at just now, on its way in: nothing has changed since. */
  hasSeen(req: IncomingMessage): boolean {
    return this.#handing === req;
  }

  /**
   * Readies both for Express; a fault in it costs the request its speed and nothing else.
   *
   * @param isFollowed whether the middlewares will follow the response, for which they add to it, too.
   */
  #prepare(req: IncomingMessage, res: ServerResponse, isFollowed: boolean): void {
    try {
      this.#shapes?.prepare(req, res);
      if (isFollowed) exchangeOf(req, res);
    } catch (error) {
      reportFault('front', error);
    }
  }

  #pass(handle: ExpressApp['handle'], req: IncomingMessage, res: ServerResponse): void {
    this.#handing = req;
    try {
      if (this.#lane.isOpen) this.#prepare(req, res, true);
      handle.call(this.#app, req, res);
    } finally {
      this.#handing = undefined;
    }
  }
}

function readApp(candidate: unknown): ExpressApp {
  const app = candidate as ExpressApp;
  if (
    typeof candidate !== 'function' ||
    typeof app.handle !== 'function' ||
    typeof app.enabled !== 'function'
  ) {
    throw attachError('expected an app made by express()');
  }
  if (app.parent !== undefined) {
    throw attachError('the app is mounted in another app; attach to the outer app');
  }
  return app;
}

/** @internal */
export function attachError(reason: string): HotpathError {
  return new HotpathError('HOTPATH_ATTACH_INVALID', `attach(app): ${reason}`);
}
