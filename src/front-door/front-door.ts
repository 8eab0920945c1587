import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CheckedApp } from '../checks/app-layers.js';
import type { SetupCheck } from '../checks/setup-check.js';
import { exchangeOf } from '../exchange/exchange.js';
import { reportFault } from '../exchange/run-listeners.js';
import { HotpathError } from '../options/errors.js';
import { formatValue } from '../options/format-value.js';
import type { ExpressApp } from './express-view.js';
import type { FastPath } from './fast-path.js';
import { RequestShapes } from './request-shapes.js';

/** Puts the fast path in front of one Express app. */
export class FrontDoor {
  readonly #fastPath: FastPath;
  #app: ExpressApp | undefined;
  #shapes: RequestShapes | undefined;
  /** The request that is being passed to the app after its lookup here. */
  #passing: IncomingMessage | undefined;
  /** Checks the app once it gets its first request. */
  check: SetupCheck | undefined;

  constructor(fastPath: FastPath) {
    this.#fastPath = fastPath;
  }

  /** @throws HotpathError `HOTPATH_ATTACH_INVALID` for another app, a mounted app, or something else. */
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
      // With a continuation, the request comes from a parent app, which has looked it up already.
      if (out !== undefined || app.parent !== undefined) return handle.call(this, req, res, out);
      const result = door.#fastPath.serve(req, res, app);
      if (result === 'served') return;
      if (result === 'inside') {
        door.#prepare(req, res, false);
        return handle.call(this, req, res);
      }
      const pass = () => door.#pass(handle, req, res);
      if (result === 'none' || !door.#fastPath.serveFromRedis(req, res, app, pass)) pass();
    };
    this.#fastPath.opened();
  }

  /** Whether the front door has just passed this request on, so that a second lookup is pointless. */
  hasSeen(req: IncomingMessage): boolean {
    return this.#passing === req;
  }

  /**
   * Gives request and response their final hidden classes. An error here costs speed only.
   *
   * @param isFollowed whether the middlewares will add an exchange to the response.
   */
  #prepare(req: IncomingMessage, res: ServerResponse, isFollowed: boolean): void {
    try {
      this.#shapes?.prepare(req, res);
      if (isFollowed) exchangeOf(req, res);
    } catch (error) {
      reportFault('front door', error);
    }
  }

  #pass(handle: ExpressApp['handle'], req: IncomingMessage, res: ServerResponse): void {
    this.#passing = req;
    if (this.check) this.#checkOnce(this.check);
    try {
      if (this.#fastPath.isOpen) this.#prepare(req, res, true);
      handle.call(this.#app, req, res);
    } finally {
      this.#passing = undefined;
    }
  }

  #checkOnce(check: SetupCheck): void {
    this.check = undefined;
    check.passed(this.#app as unknown as CheckedApp);
  }
}

function readApp(candidate: unknown): ExpressApp {
  const app = candidate as ExpressApp;
  if (
    typeof candidate !== 'function' ||
    typeof app.handle !== 'function' ||
    typeof app.enabled !== 'function'
  ) {
    const isServer = typeof (candidate as { listen?: unknown } | null)?.listen === 'function';
    throw attachError(
      isServer && typeof candidate === 'object'
        ? 'expected the app made by express(), received a server; pass the app: perf.attach(app)'
        : `expected an app made by express(), received ${formatValue(candidate)}`,
    );
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
