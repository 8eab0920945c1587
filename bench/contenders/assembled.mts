// The packages that apps combine today for the features of hotpath: response times, metrics, compression, a
// cache.
import apicache from 'apicache';
import compression from 'compression';
import express from 'express';
import promBundle from 'express-prom-bundle';
import responseTime from 'response-time';
import { purgeOf, tagItems } from './apicache-groups.mjs';
import { addRoutes } from './app.mjs';
import { serve } from './settings.mjs';

const app = express();
app.use(responseTime());
// The labels of hotpath's metrics: method, path and status.
app.use(promBundle({ includeMethod: true, includePath: true }) as unknown as express.RequestHandler);
app.use(compression());
const runs = addRoutes(app, { before: [apicache.middleware('1 hour'), tagItems] });
serve(app, { runs, purge: purgeOf(apicache) });
