import { Router } from 'express';
import { invalid } from '../input.js';

/** `POST /echo` sends a JSON body back. */
export function echoRoutes(): Router {
  const router = Router();

  router.post('/echo', (req, res) => {
    // Only JSON is sent back: an echo of HTML would be a page of this site.
    if (req.body === undefined) throw invalid('Send a body as application/json.');
    res.json(req.body);
  });

  return router;
}
