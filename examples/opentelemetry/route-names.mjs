import { subscribe } from 'node:diagnostics_channel';
import { context } from '@opentelemetry/api';
import { getRPCMetadata } from '@opentelemetry/core';

// A hit at the front door never reaches Express. From this route, the HTTP instrumentation makes the name of the span,
// its `http.route` and the label of `http.server.request.duration`.
subscribe('hotpath:cache', ({ route }) => {
  const metadata = getRPCMetadata(context.active());
  if (metadata && route) metadata.route = route;
});
