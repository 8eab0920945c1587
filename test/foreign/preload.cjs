// Loaded before the tests of a suite (`--require`). Puts hotpath in front of what the suite tests, and leaves its files
// alone. FOREIGN_KIND=express: hotpath is the first middleware of every app that the suite makes. FOREIGN_KIND=http:
// an Express app stands in front of every listener of `request`. With FOREIGN_HOTPATH=off only hotpath is missing.
const { createRequire } = require('node:module');
const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');
const { join } = require('node:path');

const root = join(__dirname, '../..');
const isOn = process.env.FOREIGN_HOTPATH !== 'off';
const own = createRequire(join(root, 'package.json'));

/** A number for each request. */
const numbers = new WeakMap();
let count = 0;
const numberOf = (req) => numbers.get(req) ?? numbers.set(req, ++count).get(req);

/**
 * Rules for every path. `shared`: hits, at the front door too. `apart`: each request has entries of its own, so that all
 * responses are stored and each comes from the suite's server; its tests count requests and change the response.
 */
const RULES = {
  shared: { ttl: '1m', shared: true },
  apart: { ttl: '1m', partition: ({ req }) => numberOf(req) },
};

function createHotpath() {
  const { hotpath } = own(join(root, 'dist/index.cjs'));
  return hotpath({ routes: { '/{*path}': { cache: RULES[process.env.FOREIGN_RULE] } } });
}

if (process.env.FOREIGN_KIND === 'express') mountInApps();
else if (process.env.FOREIGN_KIND === 'http') standBeforeServers();

function mountInApps() {
  if (!isOn) return;
  const proto = require(join(process.cwd(), 'lib/application.js'));
  const { init, lazyrouter } = proto;
  const instances = new WeakMap();
  proto.init = function (...args) {
    const result = Reflect.apply(init, this, args);
    const perf = createHotpath();
    perf.attach(this);
    instances.set(this, perf);
    if (!lazyrouter) mountOnFirstUse(this, perf);
    return result;
  };
  if (!lazyrouter) return;
  proto.lazyrouter = function () {
    const isNew = !this._router;
    Reflect.apply(lazyrouter, this, []);
    const perf = instances.get(this);
    if (isNew && perf) this._router.use(perf);
  };
}

/** The router of Express 5 reads the settings of its app when it is first used, so nothing may use it earlier. */
function mountOnFirstUse(app, perf) {
  const { get } = Object.getOwnPropertyDescriptor(app, 'router');
  let isMounted = false;
  Object.defineProperty(app, 'router', {
    configurable: true,
    enumerable: true,
    get() {
      const router = Reflect.apply(get, this, []);
      if (!isMounted) {
        isMounted = true;
        router.use(perf);
      }
      return router;
    },
  });
}

function standBeforeServers() {
  for (const { prototype } of [http.Server, https.Server]) {
    const { emit } = prototype;
    prototype.emit = throughFront(createAppFront, emit);
  }
  for (const name of ['createServer', 'createSecureServer']) {
    const create = http2[name];
    http2[name] = (...args) => {
      const server = Reflect.apply(create, http2, args);
      server.emit = throughFront(createPlainFront, server.emit);
      return server;
    };
  }
}

/** An `emit` that sends each request through a front of its server, once. */
function throughFront(createFront, emit) {
  const fronts = new WeakMap();
  const seen = new WeakSet();
  return function (event, req, res, ...more) {
    if (event !== 'request' || seen.has(req)) return Reflect.apply(emit, this, [event, req, res, ...more]);
    seen.add(req);
    let front = fronts.get(this);
    if (!front) fronts.set(this, (front = createFront()));
    front(req, res, (request, response) => Reflect.apply(emit, this, [event, request, response, ...more]));
    return this.listenerCount(event) > 0;
  };
}

function createAppFront() {
  const express = own('express');
  const app = express();
  app.disable('x-powered-by');
  const handlers = new WeakMap();
  if (isOn) {
    const perf = createHotpath();
    app.use(perf);
    perf.attach(app);
  }
  // The suite's own handlers get the request and the response as Node makes them: they test what Express changes.
  app.use((req, res) => {
    Object.setPrototypeOf(req, http.IncomingMessage.prototype);
    Object.setPrototypeOf(res, http.ServerResponse.prototype);
    handlers.get(req)(req, res);
  });
  return (req, res, handler) => {
    handlers.set(req, handler);
    app(req, res);
  };
}

/** Express does not take requests of HTTP/2. */
function createPlainFront() {
  const perf = isOn ? createHotpath() : (_req, _res, next) => next();
  return (req, res, handler) => perf(req, res, () => handler(req, res));
}
