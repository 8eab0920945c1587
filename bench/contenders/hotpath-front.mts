// hotpath's front door, everything on: `app.use(perf)` and `perf.attach(app)`.
import { hotpathApp } from './hotpath-app.mjs';
import { serve } from './settings.mjs';

const { app, perf, served } = hotpathApp();
perf.attach(app);
serve(app, served);
