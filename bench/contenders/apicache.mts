// `apicache` before the handlers, as its README shows it.
import apicache from 'apicache';
import express from 'express';
import { purgeOf, tagItems } from './apicache-groups.mjs';
import { addRoutes } from './app.mjs';
import { serve } from './settings.mjs';

const app = express();
const runs = addRoutes(app, { before: [apicache.middleware('1 hour'), tagItems] });
serve(app, { runs, purge: purgeOf(apicache) });
