// Express 5 and `compression`: every request runs the handler and compresses the response.
import compression from 'compression';
import express from 'express';
import { addRoutes } from './app.mjs';
import { serve } from './settings.mjs';

const app = express();
app.use(compression());
const runs = addRoutes(app);
serve(app, { runs });
