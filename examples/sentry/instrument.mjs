// Loaded before the app: node --import ./examples/sentry/instrument.mjs app.mjs
import { subscribe } from 'node:diagnostics_channel';
import * as Sentry from '@sentry/node';

Sentry.init({ dsn: process.env.SENTRY_DSN, tracesSampleRate: 1 });

// A hit at the front door never reaches Express, so its span would be named after the URL.
subscribe('hotpath:cache', ({ req, route, result }) => {
  const active = Sentry.getActiveSpan();
  if (!active) return;
  const span = Sentry.getRootSpan(active);
  span.setAttribute('cache.result', result);
  if (!route) return;
  Sentry.updateSpanName(span, `${req.method} ${route}`);
  span.setAttribute('http.route', route);
});
