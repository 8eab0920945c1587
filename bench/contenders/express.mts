// Express 5 alone: every request runs the handler.
import express from 'express';
import { addRoutes } from './app.mjs';
import { serve } from './settings.mjs';

const app = express();
const runs = addRoutes(app);
serve(app, { runs });
