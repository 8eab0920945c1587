// hotpath behind a front door that leaves the hits to the inside, as no rule shares them.
import { hotpathApp } from './hotpath-app.mjs';
import { serve } from './settings.mjs';

const { app, perf, served } = hotpathApp(false);
perf.attach(app);
serve(app, served);
