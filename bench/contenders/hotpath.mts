// hotpath inside Express, everything on: `app.use(perf)`.
import { hotpathApp } from './hotpath-app.mjs';
import { serve } from './settings.mjs';

const { app, served } = hotpathApp();
serve(app, served);
