// hotpath with an attached front door that serves no hits, because no rule is shared.
import { hotpathApp } from './hotpath-app.mjs';
import { serve } from './settings.mjs';

const { app, perf, served } = hotpathApp(false);
perf.attach(app);
serve(app, served);
