// hotpath's front door, everything on: `app.use(perf)` and `perf.attach(app)`.
import type { Express } from 'express';
import { hotpathApp } from './hotpath-app.mjs';
import { serve } from './settings.mjs';

const { app, perf, served } = hotpathApp();
const door = perf as typeof perf & { attach?(app: Express): void };
if (!door.attach) {
  process.send?.({ absent: 'this build of hotpath has no front door (perf.attach)' });
  process.exit(0);
}
door.attach(app);
serve(app, served);
